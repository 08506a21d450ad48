"""Waiting for a condition, or for a process's end, with a bound: what every test does instead of sleeping.

A wait that runs out says what it waited for and what it saw. It knows nothing of what is waited for.
"""

from __future__ import annotations

import asyncio
import subprocess
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


def wait_for_end(process: subprocess.Popen[str], bound_s: float = BOUND_S) -> tuple[str | None, str | None]:
    """What the process wrote to those of its outputs that are pipes. One that goes on is killed, and its last words are
    in the AssertionError."""
    try:
        return process.communicate(timeout=bound_s)
    except subprocess.TimeoutExpired:
        process.kill()
        last_words = [(words or "")[-3000:] for words in process.communicate(timeout=BOUND_S)]
        raise AssertionError(_in_vain(f"the end of {process.args}", bound_s, last_words)) from None


def _in_vain(what: str, bound_s: float, seen: object) -> str:
    return f"waited {bound_s:g} s for {what}, in vain; seen last: {seen!r}"
