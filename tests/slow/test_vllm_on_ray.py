"""Real PDFs through Ray and the real vLLM with a small checkpoint: whole runs, and an engine killed in the middle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from quire.config.sections import StorageSettings
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.storage import open_folder
from tests.rigs.ray_nodes import head_node
from tests.rigs.vllm_engines import vllm_settings
from tests.rigs.vllm_environment import vllm_environment
from tests.runs import all_pages, page_keys, read_table, write_samples
from tests.waiting import Found, wait_for

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with vllm_environment(), head_node(num_cpus=1) as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
        ray.shutdown()


def engine_processes() -> list[psutil.Process]:
    """vLLM's own, wherever on this machine they run for this test's children."""
    return [child for child in psutil.Process().children(recursive=True) if "EngineCore" in _name(child)]


def kill_engines() -> list[int]:
    """The ids of those that there were to kill."""
    killed = []
    for process in engine_processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()
            killed.append(process.pid)
    return killed


def children() -> list[str]:
    return [_name(child) for child in psutil.Process().children(recursive=True)]


def _name(process: psutil.Process) -> str:
    try:
        return " ".join([process.name(), *process.cmdline()])
    except psutil.Error:
        return ""


@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_run_costs_no_page_even_if_its_engine_is_killed_in_mid_shard(
    tmp_path: Path, cluster: Cluster, small_checkpoint: Path, is_killed: bool
) -> None:
    """Pages come at two modes, some twice; their latents are kept; the sums agree and no process is left. The cluster
    has room for an engine and one rasterizer."""
    pages = write_samples(tmp_path / "in", 3)
    overrides = (
        "ray.num_engines=1",
        'engine.modes=["tiny", "gundam"]',
        "engine.latents=keep",
        "plan.pages_per_shard=8",
        f"flow.cache_dir={tmp_path / 'cache'}",
        "engine.stuck_after_s=150",
        "engine.start_timeout_s=150",
    )
    settings = vllm_settings(small_checkpoint, *overrides)

    is_over = threading.Event()

    def so_far(found: list[Found]) -> list[Found]:
        assert not is_over.is_set(), "the run ended before"
        return found

    def kill_an_engine() -> None:
        """As soon as latents show that pages are being read; those make the run start another. In a thread, so that
        what the run does to its event loop delays nothing."""
        latents = tmp_path / "out/latents"

        def others() -> list[psutil.Process]:
            return [process for process in engine_processes() if process.pid not in killed]

        wait_for("latents", lambda: so_far(list(latents.rglob("*.safetensors"))), bound_s=400, saw=children)
        killed = wait_for("an engine to kill", lambda: so_far(kill_engines()), saw=children)
        wait_for("another engine", lambda: so_far(others()), bound_s=400, saw=children)

    async def run() -> None:
        inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
        async with asyncio.TaskGroup() as group:  # whichever fails ends the other
            if is_killed:
                group.create_task(asyncio.to_thread(kill_an_engine))
            try:
                account = await convert(inputs, settings, use_ray=True)
            finally:
                is_over.set()
        assert account.is_complete and not account.problems
        assert account.pages.total() == sum(pages.values())

    asyncio.run(run())
    table = read_table(tmp_path / "out", "pages")
    assert page_keys(table) == all_pages(pages)
    _check_rows(table.to_pylist(), tmp_path / "out")
    _, left = psutil.wait_procs(engine_processes(), timeout=20)
    assert not left


def _check_rows(rows: list[dict[str, object]], output: Path) -> None:
    read = [row for row in rows if row["outcome"] != "blank"]
    assert read
    for row in read:
        assert row["engine"] == "vllm" and row["model_revision"]
        assert row["raw_text"] and row["num_output_tokens"] and row["mean_logprob"]
        # A random model writes until its limit at the first mode; the next rung reads the page again.
        assert [attempt["mode"] for attempt in row["attempts"]] in (["tiny"], ["tiny", "gundam"])
    kept = {path.stem for path in (output / "latents").rglob("*.safetensors")}
    assert {row["image_sha256"] for row in read} <= kept
    names = [info.key for info in open_folder(str(output), StorageSettings()).list("markdown/")]
    assert len(names) == 3
