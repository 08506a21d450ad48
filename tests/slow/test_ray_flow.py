"""On Ray: the same bytes as on one machine, whatever dies. Real clusters, real processes."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayError

from jobs.convert import convert
from jobs.plan import Inputs, make_plan
from pipeline import ray_flow
from pipeline.account import Account, take_account
from pipeline.config import RaySettings, StorageSettings
from pipeline.engines.scripted_engine import journal_counts
from pipeline.errors import ConfigError, EngineDead, ImageLost, QuireError, RunStopped
from pipeline.held_image import HeldImage
from pipeline.metrics import outcomes
from pipeline.plan_log import planned_shards
from pipeline.ray_flow.runner import RayEngineHost, RunnerActor, _next_unfetched
from pipeline.ray_flow.workers import EngineActor, EngineWorker
from pipeline.records import PageImage, PageRange, Recognition, Request, Shard
from pipeline.storage import open_folder
from pipeline.usage import used_hours
from tests import documents
from tests.rigs.ray_nodes import add_node, head_node
from tests.runs import peak_in_flight, read_table, results, scripted_settings, write_samples
from tests.waiting import wait_in_loop

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def standing() -> Iterator[Cluster]:
    """One node for all tests that leave it alone: it takes seconds to start."""
    with head_node(num_cpus=1) as cluster:
        yield cluster


@pytest.fixture
def one_cpu(standing: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Room for two scripted engines and a rasterizer."""
    monkeypatch.setenv("RAY_ADDRESS", standing.address)
    yield
    ray.shutdown()


@pytest.fixture
def growing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head node without CPUs, where drivers and runners live; the test adds nodes to it, and takes them away."""
    with head_node(num_cpus=0) as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
        ray.shutdown()


def inputs_of(tmp_path: Path, output: str) -> Inputs:
    return Inputs((str(tmp_path / "in"),), (), str(tmp_path / output))


def test_one_machine_and_ray_give_the_same_bytes(tmp_path: Path, one_cpu: None) -> None:
    """Loops, truncated pages and rejected ones included, and a page that kills engines and one that stops them: each
    is found alone, and the pages beside it are read."""
    write_samples(tmp_path / "in", 4)
    (tmp_path / "in/broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    short, long = (
        hashlib.sha256((tmp_path / "in" / name).read_bytes()).hexdigest() for name in ("doc01.pdf", "doc03.pdf")
    )
    behaviours = {
        (short, 1): "crash",
        (long, 0): "loop",
        (long, 1): "truncate",
        (long, 3): "reject",
        (long, 16): "stall",
    }

    def run(output: str, stuck_after_s: int, use_ray: bool) -> None:
        settings = scripted_settings(
            tmp_path,
            "ray.num_engines=2",
            'engine.modes=["tiny", "gundam"]',
            f"engine.stuck_after_s={stuck_after_s}",
            pages={f"{doc_id}:{index}": behaviour for (doc_id, index), behaviour in behaviours.items()},
        )
        asyncio.run(convert(inputs_of(tmp_path, output), settings, use_ray))

    run("local", stuck_after_s=5, use_ray=False)
    (tmp_path / "journal").unlink()
    run("ray", stuck_after_s=12, use_ray=True)  # an image that is made again on a busy machine takes seconds
    local, on_ray = (results(open_folder(str(tmp_path / name), StorageSettings())) for name in ("local", "ray"))
    assert local == on_ray
    assert len(local) > 10
    rows = read_table(tmp_path / "ray", "pages").to_pylist()
    assert {row["outcome"] for row in rows} == {"ocr", "failed", "blank"}
    ways = {attempt["outcome"] for row in rows for attempt in row["attempts"]}
    assert {"loop", "truncated"} <= ways
    failed = {(row["doc_id"], row["page_index"]): row["failure"]["kind"] for row in rows if row["failure"]}
    assert failed == {
        (short, 1): "engine_crash",
        (long, 3): "scripted_reject",
        (long, 16): "engine_timeout",
    }
    assert max(journal_counts(tmp_path / "journal").values()) <= 3, "twice under suspicion, then alone"


def test_pixels_that_engines_have_read_leave_the_shared_memory(tmp_path: Path, one_cpu: None) -> None:
    """Each page's image is 6.5 MB, bytes for two are admitted, and pages wait for their answers by the dozen."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(documents.pdf([f"page {index}" for index in range(12)]))
    trace, room_for_two = tmp_path / "trace", "flow.megabytes_in_flight=14"
    settings = scripted_settings(
        tmp_path, room_for_two, "ray.num_engines=1", trace=trace, seconds_per_page=6.0, window=16
    )
    account = asyncio.run(convert(inputs_of(tmp_path, "out"), settings, use_ray=True))
    assert account.pages == {"ocr": 12}
    assert peak_in_flight(trace) > 4


def test_a_shard_that_is_asked_for_twice_is_converted_once(tmp_path: Path, one_cpu: None) -> None:
    """As after a broken connection: the first call is lost on its way back, and what it began goes on."""
    pages = write_samples(tmp_path / "in", 2)
    settings = scripted_settings(tmp_path, "ray.shared_folders=true", seconds_per_page=0.5)
    asyncio.run(make_plan(inputs_of(tmp_path, "out"), settings))
    folder = open_folder(str(tmp_path / "out"), StorageSettings())
    (shard,) = planned_shards(folder)
    ray_flow.connect(settings.ray)
    try:
        engine = EngineActor.options(num_cpus=0).remote(settings)
        runner = RunnerActor.remote(ray_flow.Work(settings, folder.uri))
        first, second = ray.get([runner.convert.remote(shard, [engine]) for _ in range(2)])
    finally:
        ray_flow.disconnect()
    assert first == second and outcomes(first).total() == sum(pages.values())
    assert set(journal_counts(tmp_path / "journal").values()) == {1}


def test_an_engine_that_was_ended_answers_only_from_its_next_life(tmp_path: Path, one_cpu: None) -> None:
    """Ray kills without waiting: until then the old process would say that it is ready, and take a page with it."""
    settings = scripted_settings(tmp_path)
    page = PageImage("ab" * 32, 0, "base", 8, 8, 0, 0, 273, 72.0, "sha", ())

    async def never() -> Any:
        raise AssertionError("the image is there")

    async def run() -> None:
        host = RayEngineHost(EngineActor.options(num_cpus=0).remote(settings))
        await host.start()
        await host.stop()
        await host.start()
        image = HeldImage(ray.put(page), 0, never, lambda num_bytes: None)
        assert await host.recognize(image, Request("base"))

    ray_flow.connect(settings.ray)
    try:
        asyncio.run(run())
    finally:
        ray_flow.disconnect()


def engine_states() -> list[str]:
    """What Ray says of the engine actors that have not ended."""
    actors = ray._private.state.actors().values() if ray.is_initialized() else ()
    states = [actor["State"] for actor in actors if actor["ActorClassName"] == "EngineWorker"]
    return [state for state in states if state != "DEAD"]


def test_a_cluster_may_grow_into_its_work_and_a_lost_node_costs_only_what_was_on_it(
    tmp_path: Path, growing: Cluster
) -> None:
    """The head has no CPUs; two nodes come when the engines are waiting. One is taken away in the middle, and the other
    goes on alone."""
    pages = write_samples(tmp_path / "in", 4)
    settings = scripted_settings(
        tmp_path, "ray.num_engines=2", "ray.shared_folders=true", seconds_per_page=1.0, window=2
    )
    with pytest.raises(ConfigError, match=r"ray\.may_grow=true"):
        asyncio.run(convert(inputs_of(tmp_path, "out"), settings, use_ray=True))
    alone = replace(settings, ray=replace(settings.ray, may_grow=True, shared_folders=False))
    with pytest.raises(ConfigError, match=r"out is on this machine, and the cluster has others or may grow"):
        asyncio.run(convert(inputs_of(tmp_path, "out"), alone, use_ray=True))
    may_grow = replace(settings, ray=replace(settings.ray, may_grow=True))

    def are_asking() -> bool:
        return engine_states() == ["PENDING_CREATION"] * 2

    def num_begun() -> int:
        return sum(journal_counts(tmp_path / "journal").values())

    async def change_nodes() -> None:
        await wait_in_loop("both engines to ask Ray for a place", are_asking, saw=engine_states)
        _, lost = [add_node(growing, num_cpus=1) for _ in range(2)]
        await wait_in_loop("engines to begin six pages", lambda: num_begun() >= 6, saw=num_begun)
        await asyncio.to_thread(growing.remove_node, lost, allow_graceful=False)
        assert num_begun() < sum(pages.values()), "it is lost while there is work left"

    async def run() -> Account:
        async with asyncio.TaskGroup() as group:  # whichever fails ends the other
            group.create_task(change_nodes())
            return await convert(inputs_of(tmp_path, "out"), may_grow, use_ray=True)

    account = asyncio.run(run())
    assert account.pages.total() == sum(pages.values())
    assert account.pages["failed"] == 0


def test_a_canary_stops_a_run_and_a_later_one_goes_on(tmp_path: Path, one_cpu: None) -> None:
    """The runner waits for its next shard while the canary is judged."""
    pages = write_samples(tmp_path / "in", 3)
    folder = open_folder(str(tmp_path / "out"), StorageSettings())

    def run(*overrides: str) -> Account:
        settings = scripted_settings(
            tmp_path,
            "plan.pages_per_shard=2",
            "ray.num_engines=1",
            'engine.modes=["tiny", "base"]',
            *overrides,
            loop_share=1.0,
        )
        return asyncio.run(convert(inputs_of(tmp_path, "out"), settings, use_ray=True))

    with pytest.raises(RunStopped, match="the canary, 1 of .* shards, is not well:\n.*went into a loop"):
        run("canary.enabled=true")
    assert take_account(folder).num_shards_done == 1
    account = run("canary.enabled=true", "canary.max_loop_share=1")
    assert account.is_complete and account.pages.total() == sum(pages.values())
    assert set(journal_counts(tmp_path / "journal").values()) == {1}
    assert used_hours(folder) > 0


def test_no_process_is_left_after_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster of the other tests aside."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = set(psutil.Process().children(recursive=True))
    write_samples(tmp_path / "in", 1)
    settings = scripted_settings(tmp_path, "ray.num_engines=1", "ray.address=local", "ray.object_store_mb=200")
    asyncio.run(convert(inputs_of(tmp_path, "out"), settings, use_ray=True))
    _, left = psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, timeout=20)
    names = [" ".join(child.cmdline()) for child in left]
    assert not [name for name in names if "ray::" in name or "child_process" in name or "raylet" in name]


def test_documents_of_one_machine_are_refused_where_there_are_others(tmp_path: Path) -> None:
    there = PageRange("s3://b/a.pdf", "etag", 10, "ab" * 32, "application/pdf", 5, 0, 5)
    here = replace(there, uri=str(tmp_path / "a.pdf"))
    shards = [Shard("one", (there,)), Shard("two", (there, here))]
    found = ray_flow._on_s3(shards)
    assert next(found) is shards[0]
    with pytest.raises(ConfigError, match=r"a\.pdf is on this machine"):
        next(found)


class SlowStream:
    """A task's stream whose next item takes its time, or never comes. Asking for it early would fetch it."""

    def __init__(self, num_looks: int, is_lost: bool = False) -> None:
        self.num_looks = num_looks
        self.is_lost = is_lost

    def next_ready(self) -> bool:
        self.num_looks -= 1
        return not self.is_lost and self.num_looks < 0

    def is_finished(self) -> bool:
        return self.is_lost and self.num_looks < 0

    async def __anext__(self) -> str:
        assert self.num_looks < 0, "asked early"
        if self.is_lost:
            raise StopAsyncIteration
        return "a reference"


async def test_an_image_is_waited_for_without_fetching_it() -> None:
    assert await _next_unfetched(SlowStream(3)) == "a reference"
    with pytest.raises(StopAsyncIteration):  # which the rasterizer takes for the loss that it is
        await _next_unfetched(SlowStream(3, is_lost=True))


def ready(result: Any) -> asyncio.Future[Any]:
    """Stands in for the reference to an image, which Ray makes: it has come, or is lost."""
    future = asyncio.get_running_loop().create_future()
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


async def test_an_image_that_is_lost_is_no_death_of_the_engine(tmp_path: Path) -> None:
    engine = EngineWorker(scripted_settings(tmp_path))
    await engine.start()
    with pytest.raises(ImageLost):
        await engine.begin([ready(RayError("its node is gone"))], Request("base"))


async def test_a_new_life_of_an_engine_actor_has_no_answer_to_what_an_earlier_one_began(tmp_path: Path) -> None:
    """Or a page could be given the text of another."""
    lives = [EngineWorker(scripted_settings(tmp_path)) for _ in range(2)]
    page = PageImage("ab" * 32, 0, "base", 8, 8, 0, 0, 273, 72.0, "sha", ())
    tickets = []
    for life in lives:
        await life.start()
        tickets.append(await life.begin([ready(page)], Request("base")))
    with pytest.raises(EngineDead):
        await lives[1].finish(tickets[0])
    answer, window = await lives[1].finish(tickets[1])
    assert isinstance(answer, Recognition) and window > 1


def test_an_address_where_nobody_listens_is_a_message() -> None:
    with pytest.raises(QuireError, match="cannot join the Ray cluster at '127.0.0.1:1'"):
        ray_flow.connect(RaySettings(address="127.0.0.1:1"))
