"""A kill at each kind of moment, of each kind of process; `make soak` draws as many more as there is time for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quire.planning.plan_log import planned_shards
from quire.tables.keys import committed_shards, documents_key, pages_key, timings_key
from tests.conftest import TestBucket
from tests.kills import WINDOW, KillPoint, KillRig, ray_cluster
from tests.rigs.holding_proxy import Hold

pytestmark = [pytest.mark.timeout(600)]

# A runner is lost in `test_metrics_on_ray.py`, too, and a node with its rasterizers in `test_ray_flow.py`.
OTHER_VICTIMS = [pytest.param(victim, marks=pytest.mark.soak) for victim in ("rasterizer", "runner")]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> KillRig:
    rig = KillRig(tmp_path_factory.mktemp("kills"))
    rig.prepare()
    return rig


@pytest.fixture(scope="module")
def on_ray(local: KillRig) -> Iterator[KillRig]:
    with ray_cluster() as (variables, pid):
        yield replace(local, variables=variables, ray_pid=pid)


@pytest.fixture
def in_bucket(local: KillRig, moto_bucket: TestBucket) -> KillRig:
    return replace(local, storage=moto_bucket.settings, base_uri=moto_bucket.uri)


def test_the_driver_before_the_first_commit(local: KillRig) -> None:
    report = local.kill_and_go_on("early", KillPoint("driver", after_calls=1, pace_s=20.0))
    assert report.was_killed and report.num_committed == 0
    assert 0 < report.recomputed <= WINDOW, "what was in flight, and no more, is asked for again"


def test_a_rasterizing_process(local: KillRig) -> None:
    point = KillPoint("rasterizer", after_calls=local.num_calls // 3, pace_s=0.2)
    report = local.kill_and_go_on("rasterizer", point)
    assert report.was_killed
    assert report.recomputed == 0


@pytest.mark.parametrize("store", ["moto_bucket", pytest.param("rados_bucket", marks=pytest.mark.soak)])
def test_the_driver_in_the_middle_of_a_put(local: KillRig, store: str, request: pytest.FixtureRequest) -> None:
    bucket: TestBucket = request.getfixturevalue(store)
    in_bucket, name = replace(local, storage=bucket.settings, base_uri=bucket.uri), f"put-into-{store}"
    hold = Hold(r"PUT .*/pages/shard=", number=3, passes_half=True)
    shard_id = held_shard(in_bucket.kill_while_held(name, hold, bucket.endpoint.port))
    folder = in_bucket.output(name)
    assert folder.exists(timings_key(shard_id))
    assert not folder.exists(pages_key(shard_id)), "half of an object is no object"
    assert in_bucket.go_on(name).num_committed >= 1


def test_the_driver_between_the_pages_and_the_documents_of_a_shard(
    in_bucket: KillRig, moto_bucket: TestBucket
) -> None:
    hold = Hold(r"PUT .*/documents/shard=")
    shard_id = held_shard(in_bucket.kill_while_held("between", hold, moto_bucket.endpoint.port))
    folder = in_bucket.output("between")
    assert folder.exists(pages_key(shard_id))
    assert not folder.exists(documents_key(f"shard={shard_id}"))
    assert in_bucket.go_on("between").num_committed >= 1


@pytest.mark.parametrize("kind", ["document=", pytest.param("part-", marks=pytest.mark.soak)])
def test_the_driver_as_it_finishes(in_bucket: KillRig, moto_bucket: TestBucket, kind: str) -> None:
    """At the row of a document of several shards, and at those of documents without pages."""
    hold = Hold(rf"PUT .*/documents/{kind}")
    line = in_bucket.kill_while_held(kind, hold, moto_bucket.endpoint.port)
    folder = in_bucket.output(kind)
    assert not folder.exists(f"documents/{Path(line).name}")
    assert committed_shards(folder) == {shard.shard_id for shard in planned_shards(folder)}
    assert in_bucket.go_on(kind).recomputed == 0


@pytest.mark.parametrize("victim", ["driver", "engine", *OTHER_VICTIMS])
def test_in_the_middle_of_a_run_on_ray(on_ray: KillRig, victim: str) -> None:
    report = on_ray.kill_and_go_on(f"ray-{victim}", KillPoint(victim, on_ray.num_calls // 3, pace_s=0.2))
    assert report.was_killed
    if victim == "engine":
        assert report.recomputed <= WINDOW, "only what was in flight on it"
    if victim == "rasterizer":
        assert report.recomputed == 0


def held_shard(line: str) -> str:
    """The shard whose file is written by this request."""
    return line.partition("/shard=")[2].removesuffix(".parquet")
