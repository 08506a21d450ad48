"""A call with an end, whatever it does; and whose end it is.

`asyncio.timeout` waits for what it has cancelled; a call that does not heed that would be waited for for ever.
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
    """What the call returns or raises, or `Late` after `seconds`. If it is late, or this is cancelled, the call is
    cancelled, too, and has `grace_s` to end."""
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
    """Whether the present task was, and not something that it waits for: vLLM closes its sockets when its process dies,
    which cancels whoever is sending."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _result(task: asyncio.Task[_T]) -> _T:
    """A call that something else has cancelled must not look as if its caller were."""
    if task.cancelled():
        raise EngineDead("the call was cancelled")
    return task.result()


def _hear(task: asyncio.Task[Any]) -> None:
    """Or asyncio would complain of an exception that nobody asked for."""
    if not task.cancelled():
        task.exception()
