"""A command, and what each process of its tree takes while it runs: CPU seconds and memory, sampled."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

RENDERERS = "sandbox or CPU engine"


@dataclass(slots=True)
class ProcessUse:
    """One process. `cpu` holds (monotonic time, CPU seconds since its start)."""

    kind: str
    peak_rss_bytes: int = 0
    cpu: list[tuple[float, float]] = field(default_factory=list)

    def cpu_between(self, start: float, end: float) -> float:
        """CPU seconds between two moments, from the nearest samples before them."""
        return self._cpu_at(end) - self._cpu_at(start)

    def _cpu_at(self, moment: float) -> float:
        return max((seconds for when, seconds in self.cpu if when <= moment), default=0.0)


def watch(arguments: Sequence[str], interval_s: float = 0.25) -> tuple[int, dict[int, ProcessUse]]:
    """Run `quire` with these arguments to its end; its exit code and the use of every process by pid."""
    process = subprocess.Popen([sys.executable, "-m", "quire.jobs.cli", *arguments])
    uses: dict[int, ProcessUse] = {}
    while process.poll() is None:
        now = time.monotonic()
        for child in _tree(process.pid):
            _sample(child, now, uses)
        time.sleep(interval_s)
    return process.returncode, uses


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _sample(process: psutil.Process, now: float, uses: dict[int, ProcessUse]) -> None:
    try:
        times, rss_bytes = process.cpu_times(), process.memory_info().rss
        use = uses.setdefault(process.pid, ProcessUse(""))
        use.kind = _kind(process)  # Ray's workers change their names as they work
    except psutil.Error:
        return
    use.cpu.append((now, times.user + times.system))
    use.peak_rss_bytes = max(use.peak_rss_bytes, rss_bytes)


def _kind(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    for mark, kind in (
        ("quire.processes.child_process", RENDERERS),
        ("ray::EngineWorker", "engine actor"),
        ("ray::Runner", "runner"),
        ("ray::_rasterize", "rasterizer task"),
        ("ray::IDLE", "rasterizer task"),
        ("quire.jobs.cli", "driver"),
        ("raylet", "Ray"),
        ("gcs_server", "Ray"),
        ("ray", "Ray"),
    ):
        if mark in line:
            return kind
    return "other"
