"""Engines that die: what was in flight is tried again, the guilty page is found alone, innocents survive."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from quire.config.engines import EngineSettings
from quire.engines.held_image import HeldImage, Rasterized, hold_for_once
from quire.engines.pool import EnginePool
from quire.engines.slot import EngineHost, Slot, State
from quire.errors import EngineAway, EngineDead, EngineFailure, PageRejected
from quire.records import ImageInfo, RasterizedPage, Recognition, Request
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


KNOWN_PAGE = "Quire's own"
PATIENCE = replace(EngineSettings(), max_restarts_per_hour=100, stuck_after_s=0.5, start_timeout_s=0.5)


def rasterized(page: str) -> Rasterized[str]:
    return RasterizedPage(0, "mupdf", 0.1), hold_for_once(0, ImageInfo("base", 1, 1, 1, 72.0, "", 1), page)


def held(page: str) -> HeldImage[str]:
    async def make_again() -> Rasterized[str]:
        return rasterized(page)

    return HeldImage(page, 1, make_again, lambda num_bytes: None)


async def known_page(mode: str) -> Rasterized[str]:
    assert mode == REQUEST.mode
    return rasterized(KNOWN_PAGE)


def pool_of(hosts: Sequence[EngineHost[str]], settings: EngineSettings = PATIENCE) -> EnginePool[str]:
    return EnginePool(hosts, settings, known_page, stop_timeout_s=0.2)


async def run(
    hosts: Sequence[EngineHost[str]], pages: list[str], settings: EngineSettings = PATIENCE
) -> dict[str, object]:
    """What became of each page, within a minute."""
    pool = pool_of(hosts, settings)
    pool.start()
    try:
        async with asyncio.timeout(60):
            answers = await asyncio.gather(
                *(pool.recognize(held(p), REQUEST) for p in pages), return_exceptions=True
            )
    finally:
        await pool.close()
    return dict(zip(pages, answers, strict=True))


def restarts(number: int) -> EngineSettings:
    return replace(PATIENCE, max_restarts_per_hour=number)


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
    answers = await run([MortalHost(poison=frozenset(pages))], pages, restarts(3))
    assert any(isinstance(answer, EngineFailure) for answer in answers.values())
    assert all(isinstance(answer, EngineFailure | PageRejected) for answer in answers.values())


async def test_an_engine_that_starts_and_never_reads_stops_the_run() -> None:
    """Each page would be found guilty, alone on an idle engine."""
    pages = [f"p{i}" for i in range(400)]
    host = MortalHost(window=64, poison=frozenset(pages))
    answers = await run([host], pages, restarts(20))
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
    answers = await run(hosts, [f"p{i}" for i in range(40)], restarts(22))
    assert {page for page, answer in answers.items() if isinstance(answer, PageRejected)} == poison


async def test_a_cancelled_page_frees_its_slot() -> None:
    host = MortalHost(window=1, sticky=frozenset({"p0"}))
    pool = pool_of([host], replace(PATIENCE, stuck_after_s=60))
    pool.start()
    first = asyncio.create_task(pool.recognize(held("p0"), REQUEST))
    await wait_in_loop("the page to be with its engine", lambda: host.num_busy, saw=lambda: first)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await pool.recognize(held("p1"), REQUEST)).text == "p1"
    assert pool.num_busy == 0
    await pool.close()


# --- whose fault it is


@dataclass(eq=False)
class ScriptedHost:
    """Does at each call what `on_start`, `on_read` and `on_stop` do, given how often they were called before."""

    on_start: Callable[[int], Awaitable[object]] | None = None
    on_read: Callable[[int, str], Awaitable[object]] | None = None
    on_stop: Callable[[int], Awaitable[object]] | None = None
    window: int = 2
    num_calls: Counter[str] = field(default_factory=Counter)

    async def start(self) -> None:
        self.num_calls["start"] += 1
        if self.on_start:
            await self.on_start(self.num_calls["start"])

    async def recognize(self, held: HeldImage[str], request: Request) -> Recognition:
        page = await held.get()
        self.num_calls["read"] += 1
        if self.on_read:
            await self.on_read(self.num_calls["read"], page)
        return Recognition(page)

    async def stop(self) -> None:
        self.num_calls["stop"] += 1
        if self.on_stop:
            await self.on_stop(self.num_calls["stop"])


async def hang(*_: object) -> None:
    await asyncio.Event().wait()


async def hang_for_good(*_: object) -> None:
    """And do not heed that it is cancelled, for longer than the pool waits."""
    task = asyncio.ensure_future(asyncio.sleep(1))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue


def rejects(kind: str, *pages: str) -> Callable[[int, str], Awaitable[object]]:
    async def read(_: int, page: str) -> None:
        if not pages or page in pages:
            raise PageRejected(kind, "as told")

    return read


@pytest.mark.parametrize("kind", ["engine_crash", "engine_timeout", "refused", "broken_off"])
async def test_what_an_engine_does_to_every_page_is_no_pages_fault(kind: str) -> None:
    """Not even of the first one, or of the only one."""
    host = ScriptedHost(on_read=rejects(kind))
    answers = await run([host], ["p0"])
    assert isinstance(answers["p0"], EngineFailure)
    assert (
        f"reads nothing, 3 times one after the other: it fails on a page of Quire's own, too: {kind}: as told"
        in str(answers["p0"])
    )
    assert host.num_calls["start"] == 3


async def test_an_engine_at_fault_is_given_up_and_its_pages_are_read_elsewhere() -> None:
    broken, sound = ScriptedHost(on_read=rejects("engine_crash")), ScriptedHost()
    answers = await run([broken, sound], [f"p{i}" for i in range(20)])
    assert all(isinstance(answer, Recognition) for answer in answers.values())


async def test_a_page_that_an_engine_rejects_is_to_blame_once_the_engine_has_read_another() -> None:
    host = ScriptedHost(on_read=rejects("engine_crash", "p0", "p2"))
    answers = await run([host], ["p0", "p1", "p2"])
    assert [page for page, answer in answers.items() if isinstance(answer, PageRejected)] == ["p0", "p2"]
    assert host.num_calls["start"] == 1


async def test_what_a_page_is_not_is_its_own_affair() -> None:
    """No engine is suspected of a script that it does not know."""
    host = ScriptedHost(on_read=rejects("unsupported_script"))
    answers = await run([host], ["p0"])
    assert isinstance(answers["p0"], PageRejected)
    assert host.num_calls == {"start": 1, "read": 1, "stop": 1}


async def test_an_engine_that_dies_of_every_page_is_at_fault() -> None:
    async def die(_: int, page: str) -> None:
        raise EngineDead(f"died of {page}")

    host = ScriptedHost(on_read=die)
    answers = await run([host], ["p0"], restarts(5))
    assert isinstance(answers["p0"], EngineFailure)
    assert (
        f"died 6 times within an hour, the last time of: it fails on a page of Quire's own, too: died of {KNOWN_PAGE}"
        in str(answers["p0"])
    )


async def test_a_page_that_met_an_outage_again_and_again_is_read_when_it_is_over() -> None:
    """Nothing else was read meanwhile."""

    async def die_for_a_while(number: int, page: str) -> None:
        if number < 8:
            raise EngineDead("the server is busy")

    host = ScriptedHost(on_read=die_for_a_while)
    answers = await run([host], ["p0"])
    assert isinstance(answers["p0"], Recognition)


async def test_an_engine_that_was_gone_before_it_had_a_page_blames_none() -> None:
    """However often, and though it reads others meanwhile."""

    async def be_away(number: int, page: str) -> None:
        if page == "p0" and number < 12:
            raise EngineAway("nobody is there")

    answers = await run([ScriptedHost(on_read=be_away)], [f"p{i}" for i in range(20)])
    assert all(isinstance(answer, Recognition) for answer in answers.values())


async def test_the_making_of_an_image_is_no_part_of_an_attempt() -> None:
    async def make_slowly() -> Rasterized[str]:
        await asyncio.sleep(0.3)
        return rasterized("p0")

    async def read_at_first_never(number: int, page: str) -> None:
        if number == 1:
            raise EngineDead("died")

    page = HeldImage("p0", 1, make_slowly, lambda num_bytes: None)
    page.let_go()
    pool = pool_of([ScriptedHost(on_read=read_at_first_never)], replace(PATIENCE, stuck_after_s=0.1))
    pool.start()
    assert (await pool.recognize(page, REQUEST)).text == "p0"
    await pool.close()


# --- waiting ends


async def test_a_stuck_engine_that_cannot_be_ended_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    async def hang_once(number: int, page: str) -> None:
        if number == 1:
            await hang()

    async def refuse(_: int) -> None:
        raise RuntimeError("the card does not answer")

    for on_stop in (refuse, hang, hang_for_good):
        host = ScriptedHost(on_read=hang_once, on_stop=on_stop)
        answers = await run([host], ["p0", "p1", "p2"])
        assert all(isinstance(answer, Recognition) for answer in answers.values()), on_stop
    assert "cannot be ended: the card does not answer" in caplog.text


async def test_a_late_start_ends_before_the_next_begins() -> None:
    running, peak = 0, 0

    async def load(number: int) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        try:
            if number < 3:
                await hang()
        finally:
            await asyncio.shield(asyncio.sleep(0.05))  # what was loaded is unloaded
            running -= 1

    answers = await run([ScriptedHost(on_start=load)], ["p0"], replace(PATIENCE, start_timeout_s=0.1))
    assert isinstance(answers["p0"], Recognition)
    assert peak == 1


async def test_a_start_that_does_not_end_is_the_last_one() -> None:
    host = ScriptedHost(on_start=hang_for_good)
    answers = await run([host], ["p0"], replace(PATIENCE, start_timeout_s=0.1))
    assert "was not ready within 0.1 s, and its start does not end" in str(answers["p0"])
    assert host.num_calls["start"] == 1


async def test_an_engine_that_is_not_there_yet_is_waited_for_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def come_late(number: int) -> None:
        if number < 4:
            raise EngineDead("nobody listens at the address")

    host = ScriptedHost(on_start=come_late)
    answers = await run([host], ["p0"], replace(PATIENCE, start_timeout_s=30, max_restarts_per_hour=1))
    assert isinstance(answers["p0"], Recognition)
    assert [record.getMessage() for record in caplog.records] == [
        "an engine is waited for, 30 s at most: nobody listens at the address"
    ]


async def test_an_engine_that_never_comes_is_given_up_with_its_reason() -> None:
    async def never_come(_: int) -> None:
        raise EngineDead("nobody listens at the address")

    answers = await run([ScriptedHost(on_start=never_come)], ["p0"])
    assert str(answers["p0"]) == "an engine was not ready within 0.5 s: nobody listens at the address"


async def test_an_engine_that_is_being_ended_keeps_the_run_alive() -> None:
    """The other one is given up in the meantime."""
    is_ending = asyncio.Event()

    async def hang_once(number: int, page: str) -> None:
        if number == 1:
            await hang()

    async def end_slowly(_: int) -> None:
        is_ending.set()
        await asyncio.sleep(0.1)

    async def fail_then(_: int) -> None:
        await is_ending.wait()
        raise RuntimeError("no such model")

    stuck = ScriptedHost(on_read=hang_once, on_stop=end_slowly)
    answers = await run([stuck, ScriptedHost(on_start=fail_then)], ["p0"])
    assert isinstance(answers["p0"], Recognition)


async def test_who_waits_when_the_pool_is_closed_is_told() -> None:
    pool = pool_of([ScriptedHost(on_start=hang)], replace(PATIENCE, start_timeout_s=60))
    pool.start()
    waiting = asyncio.create_task(pool.recognize(held("p0"), REQUEST))
    await asyncio.sleep(0)
    await pool.close()
    with pytest.raises(EngineFailure, match="closed"):
        await waiting


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_hosts_do_every_page_ends_or_the_run_does(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Each call of each host does something else: what it should, or raise, die, hang, be cancelled."""
    caplog.set_level(logging.CRITICAL, "pipeline")
    draw = random.Random(seed)

    async def be_cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    def raising(error: Exception) -> Callable[..., Awaitable[None]]:
        async def fail(*_: object) -> None:
            raise error

        return fail

    async def do_well(*_: object) -> None:
        await asyncio.sleep(draw.choice([0, 0.001]))

    faults = [
        hang, be_cancelled, raising(EngineDead("dead")), raising(EngineAway("away")),
        raising(PageRejected("engine_crash", "crash")), raising(PageRejected("unsupported_script", "Hangul")),
        raising(RuntimeError("a bug")),
    ]  # fmt: skip

    async def do_anything(*arguments: object) -> None:
        await (do_well if draw.random() < share_well else draw.choice(faults))(*arguments)

    async def start_anyhow(number: int) -> None:
        await (do_well if draw.random() < share_well else draw.choice(faults))(number)

    share_well = draw.choice([0.3, 0.7, 0.95])
    hosts = [ScriptedHost(start_anyhow, do_anything, do_anything, draw.randint(1, 4)) for _ in range(3)]
    settings = replace(
        PATIENCE, stuck_after_s=0.02, start_timeout_s=0.05, max_restarts_per_hour=draw.choice([2, 20])
    )
    pages = [f"p{number}" for number in range(20)]
    answers = await run(hosts, pages, settings)
    for page, answer in answers.items():
        assert isinstance(answer, Recognition | PageRejected | EngineFailure | RuntimeError), answer
        assert not isinstance(answer, Recognition) or answer.text == page


def test_a_state_follows_another_only_by_the_table() -> None:
    slot: Slot[str] = Slot(ScriptedHost())
    with pytest.raises(RuntimeError, match="is being started cannot become one that is kept"):
        slot.become(State.RESERVED)
