"""A test that hangs shows where, long before it is ended: its coroutines, its child processes, its threads.

A pytest plugin. The threads' stacks come from pytest itself (`faulthandler_timeout`), which needs no Python to run;
here is what it does not know. Nothing is ended: that is left to the test's own time limit.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

SHOWN_AFTER_S = 45.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    started = time.monotonic()
    timer = threading.Timer(SHOWN_AFTER_S, lambda: show(item.nodeid, time.monotonic() - started))
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def show(nodeid: str, seconds: float) -> None:
    """Print, past any capturing, what the test waits for."""
    lines = [f"\n{nodeid} has been at it for {seconds:.0f} s. Its coroutines:"]
    lines += _coroutines() or ["  none"]
    lines += ["Its child processes:", *(_children() or ["  none"]), ""]
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, "\n".join(lines).encode())


def _coroutines() -> list[str]:
    """Each unfinished task of every event loop, with the lines where it and what it awaits stand."""
    tasks = [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()]
    return [f"  {task.get_name()}: {' > '.join(_awaited(task.get_coro()))}" for task in tasks]


def _awaited(coroutine: object) -> Iterator[str]:
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield f"{frame.f_code.co_qualname} ({os.path.relpath(frame.f_code.co_filename)}:{frame.f_lineno})"
        coroutine = getattr(coroutine, "cr_await", None)


def _children() -> list[str]:
    lines = []
    for child in psutil.Process().children(recursive=True):
        try:
            lines.append(
                f"  {child.pid} {child.status()}, {sum(child.cpu_times()[:2]):.1f} s of CPU: "
                f"{' '.join(child.cmdline())[:150]}"
            )
        except psutil.Error:
            continue  # it ended meanwhile
    return lines
