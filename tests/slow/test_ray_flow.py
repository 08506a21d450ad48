"""On Ray: the same bytes as on one machine, whatever dies. Real clusters, real processes."""

import asyncio
import hashlib
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayError, RayTaskError
from ray.experimental import get_object_locations

from quire.config.sections import RaySettings, StorageSettings
from quire.conversion.shard import ShardQueue
from quire.engines.scripted_engine import journal_counts
from quire.errors import ConfigError, EngineAway, EngineDead, ImageLost, QuireError, RunStopped
from quire.flows import on_ray
from quire.flows.on_ray import cluster, workers
from quire.flows.on_ray import feeder as feeder_module
from quire.flows.on_ray.cluster import Cluster as RunCluster
from quire.flows.on_ray.feeder import Feeder
from quire.flows.on_ray.homes import home
from quire.flows.on_ray.runner import RayEngineHost, RayRasterizer, RunnerActor, _next_unfetched
from quire.flows.on_ray.workers import EngineActor, EngineWorker
from quire.meters.bottleneck import FlowSums, Machinery
from quire.meters.flow_meter import RunMeter
from quire.meters.metrics import PAGES, outcomes, report_nothing
from quire.planning.plan_log import planned_shards
from quire.rasterize.held_image import HeldImage, hold_for_once
from quire.records import PageImage, PageRange, Recognition, Request, Shard
from quire.results.ledger import Account, take_account
from quire.results.run_folder import provenance
from quire.results.usage import used_hours
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import open_folder
from tests import documents
from tests.rigs.ray_cluster import START_TRIES
from tests.rigs.ray_nodes import add_node, head_node
from tests.runs import (
    SCRIPTED,
    command,
    peak_in_flight,
    read_table,
    results,
    scripted_settings,
    set_options,
    write_samples,
)
from tests.waiting import wait_for, wait_for_end, wait_in_loop

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
    on_ray.connect(settings.ray)  # it was there before, so there is nothing to end
    try:
        engine = EngineActor.options(num_cpus=0).remote(settings)
        runner = RunnerActor.remote(on_ray.Work(settings, folder.uri, provenance(folder, settings)))
        first, second = ray.get([runner.convert.remote(shard, [engine]) for _ in range(2)])
    finally:
        on_ray.disconnect()
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

    on_ray.connect(settings.ray)
    try:
        asyncio.run(run())
    finally:
        on_ray.disconnect()


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


def test_the_home_of_a_document_depends_on_no_order_and_moves_only_with_its_node() -> None:
    nodes, doc_ids = [f"node {number}" for number in range(5)], [str(number) for number in range(1000)]
    homes = {doc_id: home(doc_id, nodes) for doc_id in doc_ids}
    assert homes == {doc_id: home(doc_id, reversed(nodes)) for doc_id in doc_ids}
    assert all(150 < number < 250 for number in Counter(homes.values()).values())
    moved = [doc_id for doc_id in doc_ids if home(doc_id, nodes[1:]) != homes[doc_id]]
    assert moved == [doc_id for doc_id in doc_ids if homes[doc_id] == nodes[0]]


@pytest.mark.soak
def test_a_document_is_rendered_at_its_home(tmp_path: Path, growing: Cluster) -> None:
    """All runners choose the same node for it, so that its bytes are fetched once; another one where that is busy."""
    for _ in range(2):
        add_node(growing, num_cpus=1)
    settings = scripted_settings(tmp_path, "ray.shared_folders=true", "ray.rasterizer_cpus=1")
    connected = on_ray.connect(settings.ray, settings.metrics.port)
    wait_for("the nodes to join", lambda: sum(node["Alive"] for node in ray.nodes()) == 3)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Resources"].get("CPU")]
    folder = open_folder(str(tmp_path / "out"), StorageSettings())
    work = on_ray.Work(settings, folder.uri, provenance(folder, settings))

    async def rendered_at(data: bytes) -> set[str]:
        path, doc_id = tmp_path / "document.pdf", hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        source = PageRange(str(path), "", len(data), doc_id, "application/pdf", 2, 0, 2)
        rasterizer = RayRasterizer(work)
        pages = rasterizer.rasterize(source, [0, 1], "tiny", hold_for_once)
        images = [await image.get() async for _, image in pages if image]
        await asyncio.gather(*images)  # and so they are at the head, too
        return {node for place in get_object_locations(images).values() for node in place["node_ids"]} & set(nodes)

    made = (documents.pdf([f"document {number}", "its second page"]) for number in range(100))
    homes = {home(hashlib.sha256(data).hexdigest(), nodes): data for data in made}
    assert len(homes) == 2
    for node, data in homes.items():
        wait_for("the nodes to be idle", lambda: ray.available_resources().get("CPU") == 2)
        assert asyncio.run(rendered_at(data)) == {node}
    on_ray.disconnect(connected)


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


@contextmanager
def first_page_read(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver with a cluster of its own, in the middle of a run. Ray gives a node 30 s to start, for which a machine
    may stand still, so that it is tried again."""
    write_samples(tmp_path / "in", 4)
    journal = tmp_path / "journal"
    options = (
        *SCRIPTED, f"scripted.journal={journal}", "scripted.seconds_per_page=1.0", "scripted.window=2",
        f"flow.cache_dir={tmp_path / 'cache'}", "ray.num_engines=1", "ray.object_store_mb=200",
    )  # fmt: skip
    arguments = ["convert", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--ray", "local"]
    for num_left in reversed(range(START_TRIES)):
        with subprocess.Popen(
            command(*arguments, *set_options(options)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as driver:
            try:
                wait_for("the first page", lambda: journal.exists() or driver.poll() is not None, saw=driver.poll)
                if journal.exists():
                    yield driver
                    return
                assert num_left, wait_for_end(driver)
            finally:
                driver.kill()


@pytest.mark.parametrize("victim", ["gcs_server", pytest.param("raylet", marks=pytest.mark.soak)])
def test_a_cluster_of_its_own_that_is_lost_ends_the_run_with_a_line_and_leaves_nothing(
    tmp_path: Path, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself waits for ever, or ends the driver after a minute with words of its own and leaves agents behind."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with first_page_read(tmp_path) as driver:
        processes = psutil.Process(driver.pid).children(recursive=True)
        (killed,) = [process for process in processes if process.name() == victim]
        killed.kill()
        _, words = wait_for_end(driver)
    assert driver.returncode == 1, words
    assert words is not None and f"has lost its process {victim}" in words.splitlines()[-1]
    _, left = psutil.wait_procs(processes, timeout=60)
    assert not left


def test_documents_of_one_machine_are_refused_where_there_are_others(tmp_path: Path) -> None:
    there = PageRange("s3://b/a.pdf", "etag", 10, "ab" * 32, "application/pdf", 5, 0, 5)
    here = replace(there, uri=str(tmp_path / "a.pdf"))
    shards = [Shard("one", (there,)), Shard("two", (there, here))]
    found = on_ray._on_stores(shards)
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


async def test_an_answer_that_nobody_asks_for_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runner died; the page is read again elsewhere, and need not be read to its end here."""
    monkeypatch.setattr(workers, "_KEPT_S", 0.01)
    engine = EngineWorker(scripted_settings(tmp_path, seconds_per_page=1000.0))
    await engine.start()
    await engine.begin([ready(PageImage("ab" * 32, 0, "base", 8, 8, 0, 0, 273, 72.0, "sha", ()))], Request("base"))
    (reading,) = engine._begun.values()
    await asyncio.wait({reading}, timeout=60)
    assert reading.cancelled() and not engine._begun


class ActorInThisProcess:
    """An engine actor without a cluster. What it raises comes wrapped, as Ray does it."""

    def __init__(self, worker: EngineWorker) -> None:
        self._worker = worker

    def __getattr__(self, name: str) -> Any:
        async def remote(*arguments: Any) -> Any:
            try:
                return await getattr(self._worker, name)(*arguments)
            except Exception as exc:
                raise RayTaskError(name, "its traceback", exc).as_instanceof_cause() from exc

        return SimpleNamespace(remote=remote)


async def test_an_engine_that_never_had_a_page_stays_alive_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool blames no page for it then, and the actor's process goes on with the pages that it has."""

    def fail_here(status: int) -> None:
        raise AssertionError(f"the actor's process would have ended, with {status}")

    async def never() -> Any:
        raise AssertionError("the image is there")

    monkeypatch.setattr(os, "_exit", fail_here)
    worker = EngineWorker(scripted_settings(tmp_path))
    host = RayEngineHost(ActorInThisProcess(worker))
    await host.start()
    assert worker._engine is not None
    await worker._engine.close()  # whatever it is given from now on, it never had
    image = ready(PageImage("ab" * 32, 0, "base", 8, 8, 0, 0, 273, 72.0, "sha", ()))
    with pytest.raises(EngineAway, match="crashed before"):
        await host.recognize(HeldImage(image, 0, never, lambda num_bytes: None), Request("base"))


async def test_a_head_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cluster of others, which may have it back; none of its processes is touched."""
    monkeypatch.setattr(cluster, "_HEAD_PATIENCE_S", 0.2)
    monkeypatch.setattr(cluster, "_LOOK_EVERY_S", 0.01)
    head = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    host, port = head.sockets[0].getsockname()
    watch = asyncio.create_task(RunCluster(f"{host}:{port}").watch())
    await asyncio.wait({watch}, timeout=0.5)
    assert not watch.done(), "it answers"
    head.close()
    with pytest.raises(QuireError, match=rf"{host}:{port}, has not answered for 0.2 s \(.*refused"):
        await asyncio.wait_for(watch, timeout=60)


class StandInRunner:
    """Answers as an actor does, but for calls that are lost without an error, as many of each kind as `num_lost`."""

    def __init__(self, **num_lost: int) -> None:
        self.num_lost = num_lost
        self.num_calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        def remote(*_: Any) -> asyncio.Future[Any]:
            self.num_calls[name] += 1
            if self.num_calls[name] <= self.num_lost.get(name, 0):
                return asyncio.get_running_loop().create_future()
            return ready({"look": ({}, FlowSums()), "convert": Counter({(PAGES, "ocr"): 5})}.get(name))

        return SimpleNamespace(remote=remote)


async def nothing_is_lost() -> None:
    await asyncio.Event().wait()


async def feed(runner: StandInRunner) -> Counter[str]:
    """What is shown in the end of one shard."""
    shown: list[Counter[str]] = []
    meter = RunMeter(Machinery(1, 1.0, 1.0, None, "engine"), report_nothing)
    feeder = Feeder(ShardQueue([Shard("one", ())]), [(runner, [])], 1, meter, shown.append)
    await asyncio.wait_for(feeder.run(nothing_is_lost()), timeout=60)
    return shown[-1]


@pytest.mark.parametrize("call", ["convert", "admitted"])
async def test_a_call_that_is_lost_without_an_error_is_made_again(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(feeder_module, "_MISS_EVERY_S", 0.01)
    monkeypatch.setattr(feeder_module, "_LOOK_EVERY_S", 0.01)
    runner = StandInRunner(**{call: 1})
    assert await feed(runner) == {"ocr": 5}
    assert runner.num_calls["convert"] == (2 if call == "convert" else 1)


async def test_a_runner_that_does_not_answer_is_told_of_and_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in {
        "_LOOK_EVERY_S": 0.01,
        "_LOOK_TIMEOUT_S": 0.02,
        "_QUIET_S": 0.1,
        "PATIENCE_S": 0.5,
    }.items():
        monkeypatch.setattr(feeder_module, name, seconds)
    with pytest.raises(QuireError, match=r"did not come back within 0.5 s: .*Timeout"):
        await feed(StandInRunner(look=10**9))
    assert caplog.text.count("a shard runner does not answer; it has 0.5 s") == 1


def test_an_address_where_nobody_listens_is_a_message() -> None:
    with pytest.raises(QuireError, match="cannot join the Ray cluster at '127.0.0.1:1'"):
        on_ray.connect(RaySettings(address="127.0.0.1:1"))
