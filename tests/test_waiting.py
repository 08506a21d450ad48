"""A wait ends with its condition, and one in vain says what it waited for and what it saw."""

import asyncio
from itertools import count

import pytest

from tests.waiting import wait_for, wait_in_loop


def test_it_ends_as_soon_as_there_is_something() -> None:
    numbers = count()
    assert wait_for("the third number", lambda: next(numbers) == 3)
    assert next(numbers) == 4


def test_a_wait_in_vain_says_what_for_and_what_it_saw() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.05 s for a shard, in vain; seen last: \[\]"):
        wait_for("a shard", list, bound_s=0.05)
    with pytest.raises(AssertionError, match=r"for a shard, in vain; seen last: 'a log'"):
        wait_for("a shard", lambda: False, bound_s=0.05, saw=lambda: "a log")


async def test_other_coroutines_run_on_meanwhile() -> None:
    done: list[str] = []
    task = asyncio.create_task(asyncio.sleep(0, done.append("it")))
    assert await wait_in_loop("the other one", lambda: done) == ["it"]
    await task
    with pytest.raises(AssertionError, match="for nothing, in vain; seen last: None"):
        await wait_in_loop("nothing", lambda: None, bound_s=0.05)
