"""A selection of the kill points of `tests/kills.py`; the command there runs as many as asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TestBucket
from tests.kills import WINDOW, KillPoint, KillRig, ray_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> KillRig:
    rig = KillRig(tmp_path_factory.mktemp("local"))
    rig.prepare()
    return rig


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillRig]:
    with ray_cluster() as (variables, raylet):
        rig = KillRig(tmp_path_factory.mktemp("ray"), variables=variables, ray_pid=raylet)
        rig.prepare()
        yield rig


@pytest.mark.parametrize("seed", range(10))
def test_kill_the_driver(local: KillRig, seed: int) -> None:
    report = local.kill_and_go_on(f"driver{seed}", KillPoint.draw(seed, ("driver",), local.num_calls))
    assert report.was_killed
    assert report.recomputed <= local.num_calls


@pytest.mark.parametrize("seed", range(100, 105))
def test_kill_a_rasterizer(local: KillRig, seed: int) -> None:
    report = local.kill_and_go_on(f"raster{seed}", KillPoint.draw(seed, ("rasterizer",), local.num_calls // 2))
    assert report.was_killed
    assert report.recomputed == 0


ON_RAY = {"driver": (1, 2), "engine": (3, 4, 5), "rasterizer": (6, 7), "runner": (8, 9)}


@pytest.mark.parametrize(
    ("victim", "seed"), [(victim, seed) for victim, seeds in ON_RAY.items() for seed in seeds]
)
def test_kill_on_ray(on_ray: KillRig, victim: str, seed: int) -> None:
    report = on_ray.kill_and_go_on(f"{victim}{seed}", KillPoint.draw(seed, (victim,), on_ray.num_calls // 2))
    assert report.was_killed
    if victim == "engine":
        assert report.recomputed <= WINDOW, "only what was in flight on it"
    if victim == "rasterizer":
        assert report.recomputed == 0


@pytest.mark.parametrize("seed", [21, 22, 23])
def test_kill_the_driver_of_a_run_into_a_bucket(s3: TestBucket, tmp_path: Path, seed: int) -> None:
    rig = KillRig(tmp_path, storage=s3.settings, base_uri=s3.uri)
    rig.prepare()
    assert rig.kill_and_go_on("killed", KillPoint.draw(seed, ("driver",), rig.num_calls)).was_killed
