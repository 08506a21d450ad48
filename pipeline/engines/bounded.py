"""A call with a time limit that holds whatever the call does; and whether a cancellation is meant for the caller.

`asyncio.timeout` waits for the call that it has cancelled: for ever, if the call ignores the cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from quire.errors import EngineDead

_T = TypeVar("_T")


class Late(Exception):
    """The call did not return in time, and was cancelled. `has_ended`: it has ended since."""

    def __init__(self, seconds: float, has_ended: bool) -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.has_ended = has_ended


async def within(seconds: float, call: Coroutine[Any, Any, _T], grace_s: float) -> _T:
    """Return or raise what the call does, or raise `Late` after `seconds`. If the call is late, or its caller is
    cancelled, the call is cancelled and has `grace_s` to end."""
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return _result(task)
    finally:
        if not task.done():
            task.add_done_callback(_hear)
            task.cancel()
            await asyncio.wait({task}, timeout=grace_s)
    raise Late(seconds, task.done())


def is_being_cancelled() -> bool:
    """Whether the present task was cancelled, and not something that it waits for: when its process dies, vLLM closes
    its sockets, which cancels the tasks that are sending."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _result(task: asyncio.Task[_T]) -> _T:
    """The call's result. If something else cancelled the call, it must not look as if its caller were cancelled."""
    if task.cancelled():
        raise EngineDead("the call was cancelled")
    return task.result()


def _hear(task: asyncio.Task[Any]) -> None:
    """Read the exception; else asyncio warns that it was never retrieved."""
    if not task.cancelled():
        task.exception()
