"""Waiting for a condition, with a bound: what every test does instead of sleeping.

A wait that runs out says what it waited for and what it saw. It knows nothing of what is waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

BOUND_S = 120.0  # for a machine that is busy with much else; a condition that comes true ends its wait at once
_PAUSE_S = 0.02


def wait_for(
    what: str, look: Callable[[], Found], bound_s: float = BOUND_S, saw: Callable[[], object] | None = None
) -> Found:
    """Look again and again until there is something (a true value), and return it.

    Raises AssertionError after `bound_s` seconds, with what was waited for and what `saw` tells then, or else what
    the last look gave. A look may raise by itself where waiting longer would be in vain.
    """
    deadline = time.monotonic() + bound_s
    while not (found := look()):
        assert time.monotonic() < deadline, _in_vain(what, bound_s, saw() if saw else found)
        time.sleep(_PAUSE_S)
    return found


async def wait_in_loop(
    what: str, look: Callable[[], Found], bound_s: float = BOUND_S, saw: Callable[[], object] | None = None
) -> Found:
    """`wait_for` in a coroutine: others run on meanwhile."""
    deadline = time.monotonic() + bound_s
    while not (found := look()):
        assert time.monotonic() < deadline, _in_vain(what, bound_s, saw() if saw else found)
        await asyncio.sleep(_PAUSE_S)
    return found


def _in_vain(what: str, bound_s: float, seen: object) -> str:
    return f"waited {bound_s:g} s for {what}, in vain; seen last: {seen!r}"
