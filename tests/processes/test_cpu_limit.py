"""Limits of CPU time: the load of the machine must not show, and its faults are told from those of the work."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable

import psutil
import pytest

from quire.processes.cpu_limit import OverLimit, Starved, within_cpu
from tests.waiting import wait_in_loop

Start = Callable[[str], subprocess.Popen[bytes]]

BUSY = "while True: pass"
BUSY_WITH_TWO_THREADS = f"import threading\nthreading.Thread(target=exec, args=({BUSY!r},)).start()\n{BUSY}"


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts Python processes and ends them."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(code: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", code]))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.wait()


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("code", [BUSY, BUSY_WITH_TWO_THREADS])
async def test_a_busy_process_is_given_up_for_its_cpu_time(start: Start, code: str) -> None:
    process = start(code)
    before_s = cpu_time_s(process.pid)
    with pytest.raises(OverLimit, match="more than 0.4 s of CPU"):
        await within_cpu(never(), process.pid, 0.4)
    assert cpu_time_s(process.pid) - before_s > 0.4 - 0.02  # which is counted in hundredths


async def test_what_takes_long_and_little_cpu_passes(start: Start) -> None:
    """As on a machine that is busy with much else."""
    process = start("import time\nwhile True: time.sleep(0.01)")

    async def crawl() -> str:
        late = time.monotonic() + 1.5
        await wait_in_loop("the limit to pass by the clock", lambda: time.monotonic() > late)
        return "done"

    assert await within_cpu(crawl(), process.pid, cpu_s=1.0) == "done"


async def test_a_result_that_took_too_much_is_none(start: Start) -> None:
    """Else it would depend on when one looks whether the page passes."""
    process = start(BUSY)

    async def burn() -> None:
        began_s = cpu_time_s(process.pid)
        await wait_in_loop("half a second of CPU", lambda: cpu_time_s(process.pid) > began_s + 0.5)

    with pytest.raises(OverLimit):
        await within_cpu(burn(), process.pid, cpu_s=0.45)


async def test_a_process_that_sleeps_has_itself_to_blame(start: Start) -> None:
    process = start("import time; time.sleep(1000)")
    await wait_in_loop("it to sleep", lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING)
    with pytest.raises(OverLimit, match="waits for what never comes"):
        await within_cpu(never(), process.pid, 30, stuck_after_s=0.4)


async def test_a_stopped_process_does_not(start: Start) -> None:
    process = start(BUSY)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(Starved, match="stopped"):
        await within_cpu(never(), process.pid, 30, stuck_after_s=0.4)


async def test_a_process_that_is_gone_is_not_waited_for(start: Start) -> None:
    process = start("")
    process.wait()
    with pytest.raises(Starved, match="gone"):
        await within_cpu(never(), process.pid, 30, stuck_after_s=0.2)


async def test_errors_of_the_work_pass_and_nothing_is_left_behind() -> None:
    async def fail() -> None:
        raise ValueError("from within")

    with pytest.raises(ValueError, match="from within"):
        await within_cpu(fail(), os.getpid(), 30)
    work = asyncio.create_task(never())
    waiting = asyncio.create_task(within_cpu(work, os.getpid(), 30))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting, work})
    assert work.cancelled()


def cpu_time_s(pid: int) -> float:
    return sum(psutil.Process(pid).cpu_times()[:2])
