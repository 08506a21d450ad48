"""Engines that die: what was in flight is tried again, the guilty page is found alone, innocents survive."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest

from pipeline.engines.pool import EnginePool
from pipeline.errors import EngineDead, EngineFailure, PageRejected
from pipeline.held_image import HeldImage
from pipeline.records import RasterizedPage, Recognition, Request
from tests.waiting import wait_in_loop

REQUEST = Request("base")


@dataclass(eq=False)
class MortalHost:
    """An engine of `window` slots that dies of the pages in `poison` and never answers those in `sticky`.

    Its death takes all in flight along."""

    window: int = 4
    poison: frozenset[str] = frozenset()
    sticky: frozenset[str] = frozenset()
    cannot_start: bool = False
    num_hangs: int = 0  # of its starts, the first ones
    num_starts: int = 0
    num_busy: int = 0
    peak_busy: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        if self.cannot_start:
            raise RuntimeError("no such model")
        self.num_starts += 1
        self.dead = asyncio.Event()
        if self.num_starts <= self.num_hangs:
            await self.dead.wait()

    async def recognize(self, held: HeldImage[str], request: Request) -> Recognition:
        page = await held.get()
        held.let_go()
        self.calls[page] += 1
        self.num_busy += 1
        self.peak_busy = max(self.peak_busy, self.num_busy)
        life = self.dead
        try:
            await asyncio.sleep(0.001)
            if page in self.sticky:
                await life.wait()
            if page in self.poison:
                life.set()
            if life.is_set():
                raise EngineDead(f"died with {page} in flight")
            return Recognition(page)
        finally:
            self.num_busy -= 1

    async def stop(self) -> None:
        self.dead.set()


def held(page: str) -> HeldImage[str]:
    async def make_again() -> RasterizedPage[str]:
        return RasterizedPage(0, "mupdf", 0.1, image=page)

    return HeldImage(page, 1, make_again, lambda num_bytes: None)


async def run(hosts: list[MortalHost], pages: list[str], max_restarts: int = 100) -> dict[str, object]:
    pool: EnginePool[str] = EnginePool(hosts, max_restarts, stuck_after_s=0.5, start_timeout_s=0.5)
    pool.start()
    try:
        answers = await asyncio.gather(*(pool.recognize(held(p), REQUEST) for p in pages), return_exceptions=True)
    finally:
        await pool.close()
    return dict(zip(pages, answers, strict=True))


async def test_all_pages_are_read_and_no_window_is_exceeded() -> None:
    hosts = [MortalHost(window=3), MortalHost(window=5)]
    answers = await run(hosts, [f"p{i}" for i in range(60)])
    assert all(isinstance(answer, Recognition) for answer in answers.values())
    assert [host.peak_busy for host in hosts] == [3, 5]
    assert min(host.calls.total() for host in hosts) > 10, "the least loaded comes first"


@pytest.mark.parametrize("num_hosts", [1, 3])
async def test_only_the_page_that_kills_engines_is_rejected(num_hosts: int) -> None:
    hosts = [MortalHost(poison=frozenset({"p7"})) for _ in range(num_hosts)]
    answers = await run(hosts, [f"p{i}" for i in range(30)])
    guilty = answers.pop("p7")
    assert isinstance(guilty, PageRejected)
    assert guilty.kind == "engine_crash"
    assert all(isinstance(answer, Recognition) for answer in answers.values())
    assert sum(host.calls["p7"] for host in hosts) == 3, "twice under suspicion, then alone"


async def test_an_engine_that_never_answers_is_stopped_and_the_page_is_found() -> None:
    hosts = [MortalHost(sticky=frozenset({"p3"})) for _ in range(2)]
    answers = await run(hosts, [f"p{i}" for i in range(12)])
    guilty = answers.pop("p3")
    assert isinstance(guilty, PageRejected)
    assert guilty.kind == "engine_timeout"
    assert all(isinstance(answer, Recognition) for answer in answers.values())


async def test_two_guilty_pages_in_one_batch_are_both_found_and_nobody_else() -> None:
    hosts = [MortalHost(window=8, poison=frozenset({"p2", "p5"})) for _ in range(2)]
    answers = await run(hosts, [f"p{i}" for i in range(16)])
    assert {page for page, answer in answers.items() if isinstance(answer, PageRejected)} == {"p2", "p5"}


async def test_an_engine_that_keeps_dying_stops_the_run() -> None:
    pages = [f"p{i}" for i in range(20)]
    answers = await run([MortalHost(poison=frozenset(pages))], pages, max_restarts=3)
    assert any(isinstance(answer, EngineFailure) for answer in answers.values())
    assert all(isinstance(answer, EngineFailure | PageRejected) for answer in answers.values())


async def test_an_engine_that_starts_and_never_reads_stops_the_run() -> None:
    """Each page would be found guilty, alone on an idle engine."""
    pages = [f"p{i}" for i in range(400)]
    host = MortalHost(window=64, poison=frozenset(pages))
    answers = await run([host], pages, max_restarts=20)
    blamed = [page for page, answer in answers.items() if isinstance(answer, PageRejected)]
    assert len(blamed) < 20 < host.num_starts < 30
    assert isinstance(answers["p399"], EngineFailure)
    assert "died 21 times within an hour" in str(answers["p399"])


async def test_an_engine_that_is_never_ready_in_time_stops_the_run() -> None:
    """Each start may take half an hour, in which no number of deaths an hour is ever reached."""
    host = MortalHost(num_hangs=100)
    answers = await run([host], ["p0"])
    assert isinstance(answers["p0"], EngineFailure)
    assert "not ready within 0.5 s, 3 times" in str(answers["p0"])
    assert host.num_starts == 3


async def test_an_engine_that_hangs_while_it_starts_is_started_again() -> None:
    host = MortalHost(num_hangs=2)
    answers = await run([host], [f"p{i}" for i in range(5)])
    assert all(isinstance(answer, Recognition) for answer in answers.values())
    assert host.num_starts == 3


async def test_an_engine_that_cannot_start_stops_the_run_with_its_reason() -> None:
    answers = await run([MortalHost(cannot_start=True)], ["p0"])
    assert isinstance(answers["p0"], EngineFailure)
    assert "no such model" in str(answers["p0"])


async def test_the_run_goes_on_without_an_engine_that_cannot_start() -> None:
    hosts = [MortalHost(cannot_start=True), MortalHost(), MortalHost(cannot_start=True)]
    answers = await run(hosts, [f"p{i}" for i in range(20)])
    assert all(isinstance(answer, Recognition) for answer in answers.values())


async def test_deaths_of_a_guilty_page_do_not_count_against_the_engines() -> None:
    poison = frozenset(f"p{i}" for i in range(0, 40, 4))
    hosts = [MortalHost(window=1, poison=poison)]
    answers = await run(hosts, [f"p{i}" for i in range(40)], max_restarts=22)
    assert {page for page, answer in answers.items() if isinstance(answer, PageRejected)} == poison


async def test_a_cancelled_page_frees_its_slot() -> None:
    host = MortalHost(window=1, sticky=frozenset({"p0"}))
    pool: EnginePool[str] = EnginePool([host], 3, stuck_after_s=60, start_timeout_s=5)
    pool.start()
    first = asyncio.create_task(pool.recognize(held("p0"), REQUEST))
    await wait_in_loop("the page to be with its engine", lambda: host.num_busy, saw=lambda: first)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await pool.recognize(held("p1"), REQUEST)).text == "p1"
    assert pool.num_busy == 0
    await pool.close()
