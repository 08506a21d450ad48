"""A test that hangs shows where, long before it is ended: its coroutines, its child processes, its threads.

A pytest plugin. The threads' stacks come from pytest itself (`faulthandler_timeout`), which needs no Python to run;
here is what it does not know. Nothing is ended: that is left to the test's own time limit.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

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
        try:
            told = what_it_waits_for(item.nodeid, item.config.rootpath)
        except Exception as exc:  # objects change while they are looked at; the test is not to blame
            told = f"\n{item.nodeid}: what it waits for cannot be told: {exc!r}\n"
        os.write(item.config.stash[_STDERR], told.encode(errors="backslashreplace"))

    timer = threading.Timer(SHOWN_AFTER_S, show)
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()
        timer.join()


def what_it_waits_for(nodeid: str, root: Path) -> str:
    """For a person: the unfinished coroutines of this process, with lines of files below `root`, and its children."""
    lines = [f"\n{nodeid} has been at it for {SHOWN_AFTER_S:g} s. Coroutines:", *(_coroutines(root) or ["  none"])]
    return "\n".join([*lines, "Child processes:", *(_children() or ["  none"]), ""])


def _coroutines(root: Path) -> list[str]:
    """The unfinished tasks of all event loops, those that wait at the same place together, with what they await."""
    # By its type: other objects may do what they like when they are asked for their class.
    tasks = [each for each in gc.get_objects() if issubclass(type(each), asyncio.Task) and not each.done()]
    places = Counter(" > ".join(_awaited(task.get_coro(), root)) for task in tasks)
    return [f"  {number} x {place}" for place, number in places.items()]


def _awaited(coroutine: object, root: Path) -> Iterator[str]:
    """A coroutine and what it waits for, inwards; with the line where that is in a file of ours."""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        path = Path(frame.f_code.co_filename)
        place = f" ({path.relative_to(root)}:{frame.f_lineno})" if path.is_relative_to(root) else ""
        yield f"{frame.f_code.co_qualname}{place}"
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
