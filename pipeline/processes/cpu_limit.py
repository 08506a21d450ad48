"""Waiting for a process that may use so much CPU and no more.

A page's CPU time depends on the page; its time by the clock also depends on the load of the machine. A limit by the
clock would let the load decide which pages fail. If a process uses no CPU at all, its state tells why. One that sleeps
waits for something that it caused itself; one that could run, was stopped, or waits for a disk is kept from its work by
the machine.

This module ends no process and knows no pages. Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

STUCK_AFTER_S = 300.0
"""A process that has used next to no CPU for so long is not waited for any longer."""
_LEAST_SHARE = 0.01  # of a core; a process that uses less counts as still
_SHORTEST_WAIT_S = 0.05

Result = TypeVar("Result")


class OverLimit(Exception):
    """The work takes more CPU than it may, or has put itself to sleep. The same would happen again."""


class Starved(Exception):
    """The machine does not let the process work. Says nothing about what it works on."""


async def within_cpu(
    work: Awaitable[Result], pid: int, cpu_s: float, stuck_after_s: float = STUCK_AFTER_S
) -> Result:
    """The result of `work`, which the process `pid`, a child of this one, has to do with at most `cpu_s` seconds of
    its CPU time, user and system, all threads. Raises `OverLimit`, `Starved`, and what `work` raises.

    Time by the clock counts only while the process is still, and is measured in looks: if this process and that one are
    suspended together, no time has passed.
    """
    task = asyncio.ensure_future(work)
    try:
        began_s = seen_s = _cpu_time_s(pid)
        still_s = 0.0
        while True:
            # In t seconds one thread uses at most t seconds of CPU.
            wait_s = min(max(cpu_s - (seen_s - began_s), _SHORTEST_WAIT_S), stuck_after_s / 4)
            done, _ = await asyncio.wait({task}, timeout=wait_s)
            last_s, seen_s = seen_s, max(seen_s, _cpu_time_s(pid))
            if seen_s - began_s > cpu_s:
                raise OverLimit(f"it takes more than {cpu_s:g} s of CPU")
            if done:
                return task.result()
            still_s = still_s + wait_s if seen_s - last_s < _LEAST_SHARE * wait_s else 0.0
            if still_s >= stuck_after_s:
                raise _why_still(pid, stuck_after_s)
    finally:
        task.cancel()


def _cpu_time_s(pid: int) -> float:
    """CPU time of a process so far, 0 where it has gone."""
    cpu_clock = (~pid << 3) | 2  # as clock_getcpuclockid(3) makes it, which Python lacks
    with contextlib.suppress(OSError):
        return time.clock_gettime(cpu_clock)
    return 0.0


def _why_still(pid: int, stuck_after_s: float) -> OverLimit | Starved:
    state = "X"  # gone
    with contextlib.suppress(OSError):
        # The process name before the state, in brackets, may hold anything.
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    if state == "S":
        return OverLimit(f"it waits for what never comes: {stuck_after_s:g} s without any CPU used")
    why = {"T": "it was stopped", "t": "it is traced", "D": "it waits for a disk", "R": "it gets no CPU"}
    return Starved(f"{why.get(state, 'it is gone')}, for {stuck_after_s:g} s")
