"""Children that are lent: who gets which, when one is replaced, and what is tried once more."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from quire.errors import NotStarted, QuireError
from quire.processes.child_pool import ChildPool, ChildSpec, once_more, or_in_a_fresh_process
from quire.processes.child_process import ChildDied, ChildProcess
from quire.processes.cpu_limit import Starved
from tests.taken_over import ask

Make = Callable[..., ChildPool]


def make_child() -> ChildProcess:
    return ChildProcess("tests.taken_over:TakenOver", {}, arena_bytes=1 << 20)


@pytest.fixture
async def make_pool() -> AsyncIterator[Make]:
    made: list[ChildPool] = []

    def make(
        num_children: int = 1, most_requests: int = sys.maxsize, most_resident_bytes: int = sys.maxsize
    ) -> ChildPool:
        made.append(ChildPool(ChildSpec("reading", make_child, most_requests, most_resident_bytes), num_children))
        return made[-1]

    yield make
    for pool in made:
        await pool.close()


async def pid_that_answers(pool: ChildPool, key: str = "") -> int:
    async with pool.lend(key) as child:
        await child.call(ask("run_thread"), 60)
        assert child.pid is not None
        return child.pid


async def test_a_child_is_replaced_when_it_has_died_and_when_it_has_had_enough_requests(make_pool: Make) -> None:
    pool = make_pool(most_requests=2)
    first = await pid_that_answers(pool)
    assert pool.pids == [first] and await pid_that_answers(pool) == first
    assert not pool.pids, "a spent one holds no memory while nobody asks"
    second = await pid_that_answers(pool)
    os.kill(second, signal.SIGKILL)
    os.waitid(os.P_PID, second, os.WEXITED | os.WNOWAIT)
    third = await pid_that_answers(pool)
    assert len({first, second, third}) == 3


async def test_a_child_that_holds_too_much_is_replaced(make_pool: Make) -> None:
    pool = make_pool(most_resident_bytes=1)
    await pid_that_answers(pool)
    assert not pool.pids


async def test_a_child_is_lent_for_what_it_had_last_and_no_more_are_started_than_need_be(make_pool: Make) -> None:
    pool = make_pool(num_children=3)
    one = await pid_that_answers(pool, "one")
    assert await pid_that_answers(pool, "two") == one
    async with pool.lend("two"):
        other = await pid_that_answers(pool, "one")
    assert [await pid_that_answers(pool, key) for key in ("two", "one", "two")] == [one, other, one]
    assert sorted(pool.pids) == sorted([one, other])


async def test_closing_ends_what_is_being_started_and_nothing_starts_after_it(make_pool: Make) -> None:
    pool = make_pool()
    asking = asyncio.create_task(pid_that_answers(pool))
    await asyncio.sleep(0)  # it goes as far as the process, and waits for a connection to it
    assert len(pool.pids) == 1
    await pool.close()
    for attempt in (asking, pid_that_answers(pool)):
        with pytest.raises(NotStarted, match="the reading processes are closed"):
            await attempt
    assert not pool.pids


@pytest.mark.parametrize("num_deaths", [0, 1, 2])
async def test_what_died_is_tried_once_more(num_deaths: int) -> None:
    tries = iter([ChildDied("killed")] * num_deaths)

    async def attempt() -> str:
        for fault in tries:
            raise fault
        return "read"

    if num_deaths < 2:
        assert await once_more(attempt, ChildDied) == "read"
        return
    with pytest.raises(ChildDied):
        await once_more(attempt, ChildDied)


@pytest.mark.parametrize("num_starved", [0, 1, 2])
async def test_two_starved_processes_are_the_machines_fault(num_starved: int) -> None:
    tries = iter([Starved("it was stopped")] * num_starved)

    async def attempt() -> str:
        for fault in tries:
            raise fault
        return "read"

    if num_starved < 2:
        assert await or_in_a_fresh_process(attempt, "rendering") == "read"
        return
    with pytest.raises(QuireError, match="two rendering processes .*it was stopped.*machine's fault"):
        await or_in_a_fresh_process(attempt, "rendering")
