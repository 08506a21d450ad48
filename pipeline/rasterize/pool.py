"""Rendering processes: started when first needed, restarted when they die, shared by whoever waits.

This module does not know what is asked of a process; `sandbox.py` does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from quire.errors import QuireError
from quire.processes.child_process import ChildDied, ChildProcess
from quire.processes.child_process_main import Json
from quire.processes.cpu_limit import OverLimit, Starved, or_in_a_fresh_process
from quire.records import Pixels

MakeChild = Callable[[], ChildProcess]

_START_TRIES = 3


class Worker:
    """One rendering process, or the place for one. It is given one request at a time."""

    def __init__(self, make_child: MakeChild, requests_per_process: int) -> None:
        self._make_child = make_child
        self._requests_per_process = requests_per_process
        self._child: ChildProcess | None = None
        self._num_requests = 0
        self.last_path: Path | None = None

    @property
    def num_requests(self) -> int:
        """Requests that the running process has had, 0 where the next one gets a fresh process."""
        return self._num_requests

    @property
    def arena(self) -> Pixels:
        """The process's shared memory; what lies in it is overwritten by the next request."""
        if self._child is None:
            raise ChildDied("the process is gone")
        return self._child.arena

    async def call(self, request: Json, cpu_s: float) -> Json:
        """Ask the process, starting one if need be. It is gone after `ChildDied` and `OverLimit`. Raises `QuireError`
        where the machine lets not even a second process work."""
        return await or_in_a_fresh_process(lambda: self._call_once(request, cpu_s), "rendering")

    async def _call_once(self, request: Json, cpu_s: float) -> Json:
        child = await self._ready_child()
        self._num_requests += 1
        try:
            return await child.call(request, cpu_s)
        except BaseException:  # cancellation too: the child has been killed
            self.stop()
            raise

    async def missing_of_cage(self) -> tuple[str, ...]:
        """What of the cage the process lacks, in words; one is started if need be."""
        return (await self._ready_child()).missing_of_cage

    def stop(self) -> None:
        """End the process. The next request gets a fresh one."""
        child, self._child = self._child, None
        self._num_requests = 0
        self.last_path = None
        if child is not None:
            child.close()

    async def _ready_child(self) -> ChildProcess:
        is_spent = self._num_requests >= self._requests_per_process  # against leaks in native code
        if self._child is not None and (is_spent or not self._child.is_running):
            self.stop()
        if self._child is None:
            self._child = await self._start_child()
        return self._child

    async def _start_child(self) -> ChildProcess:
        """A process that answers. One that dies while it starts may have been killed from outside, and no document has
        been near it: it is started again. Raises `QuireError` when several die."""
        for _ in range(_START_TRIES - 1):
            with contextlib.suppress(ChildDied, OverLimit, Starved):
                return await self._start_once()
        try:
            return await self._start_once()
        except (ChildDied, OverLimit, Starved) as exc:
            raise QuireError(f"the rendering process does not start: {exc}") from exc

    async def _start_once(self) -> ChildProcess:
        try:
            child = self._make_child()
            try:
                await child.start()
            except BaseException:
                child.close()
                raise
        except OSError as exc:  # out of descriptors, memory or processes: no fault of a document
            raise QuireError(f"the rendering process does not start: {exc}") from exc
        return child


class WorkerPool:
    """A fixed number of workers. Belongs to one event loop."""

    def __init__(self, make_child: MakeChild, num_workers: int, requests_per_process: int) -> None:
        self._idle = [Worker(make_child, requests_per_process) for _ in range(num_workers)]
        self._workers = tuple(self._idle)
        self._free = asyncio.Semaphore(num_workers)

    @contextlib.asynccontextmanager
    async def worker(self, path: Path) -> AsyncGenerator[Worker]:
        """A worker to oneself, the one that has `path` open if it is idle."""
        async with self._free:
            worker = self._pick(path)
            self._idle.remove(worker)
            worker.last_path = path
            try:
                yield worker
            finally:
                self._idle.append(worker)

    async def close(self) -> None:
        """End all processes, also those at work."""
        for worker in self._workers:
            worker.stop()
        # Closed sockets are let go by the event loop's next rounds, which may be its last ones.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _pick(self, path: Path) -> Worker:
        with_path = (worker for worker in self._idle if worker.last_path == path)
        # The most recently used one otherwise: a small job need not start all processes.
        return next(with_path, self._idle[-1])
