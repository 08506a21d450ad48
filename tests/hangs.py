"""A test that hangs shows where, long before it is ended: its coroutines, its child processes, its threads.

A pytest plugin. The threads' stacks come from pytest itself (`faulthandler_timeout`), which needs no Python to run;
here is what it does not know. Nothing is ended: that is left to the test's own time limit.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator

import psutil
import pytest

SHOWN_AFTER_S = 45.0
_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STDERR] = os.dup(2)  # which no capturing reaches: it is at rest while pytest is configured


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_STDERR])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    def show() -> None:
        os.write(item.config.stash[_STDERR], what_it_waits_for(item.nodeid).encode())

    timer = threading.Timer(SHOWN_AFTER_S, show)
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def what_it_waits_for(nodeid: str) -> str:
    """For a person: the unfinished coroutines of this process and its child processes."""
    lines = [f"\n{nodeid} has been at it for {SHOWN_AFTER_S:g} s. Coroutines:", *(_coroutines() or ["  none"])]
    return "\n".join([*lines, "Child processes:", *(_children() or ["  none"]), ""])


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
