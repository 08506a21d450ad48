"""Child processes that are lent, each to one caller at a time. They start when first needed, and are replaced when they
die or are spent.

Does not know what a child is asked to do, nor why it died: callers that must find out use `once_more`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from quire.errors import NotStarted, QuireError
from quire.processes.child_process import ChildDied, ChildProcess
from quire.processes.child_process_main import Json
from quire.processes.cpu_limit import OverLimit, Starved
from quire.records import Pixels

Result = TypeVar("Result")

_START_TRIES = 3


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """The children of a pool, called `name` in messages. A child is spent after `most_requests`, or when it holds more
    than `most_resident_bytes` after a request: native code leaks."""

    name: str
    make: Callable[[], ChildProcess]
    most_requests: int = sys.maxsize
    most_resident_bytes: int = sys.maxsize


class Child:
    """One process, or the place for one: it is started when needed. It gets one request at a time."""

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._process: ChildProcess | None = None
        self._num_requests = 0
        self._is_closed = False
        self.last_key: Hashable = None

    @property
    def num_requests(self) -> int:
        """Requests that the running process has had; 0 if the next one gets a fresh process."""
        return self._num_requests

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process is not None and self._process.is_running else None

    @property
    def arena(self) -> Pixels:
        """The process's shared memory; what lies in it is overwritten by the next request."""
        if self._process is None:
            raise ChildDied("the process is gone")
        return self._process.arena

    async def call(self, request: Json, cpu_s: float, pixels: Pixels | None = None) -> Json:
        """Send the process a request, with `pixels` in its arena; the process may use `cpu_s` seconds of CPU. After
        `ChildDied` and `OverLimit` it is gone. Raises `NotStarted`, and `QuireError` if the machine lets not even a
        second process work."""
        return await or_in_a_fresh_process(lambda: self._call_once(request, cpu_s, pixels), self._spec.name)

    async def missing_of_cage(self) -> tuple[str, ...]:
        """The parts of the cage that the process lacks, in words. Starts a process if none runs."""
        return (await or_in_a_fresh_process(self._running_process, self._spec.name)).missing_of_cage

    def stop(self) -> None:
        """End the process. The next request gets a fresh one."""
        process, self._process = self._process, None
        self._num_requests = 0
        if process is not None:
            process.close()

    def stop_if_spent(self) -> None:
        if self._process is not None and (
            self._num_requests >= self._spec.most_requests
            or self._process.resident_bytes > self._spec.most_resident_bytes
        ):
            self.stop()

    def close(self) -> None:
        """End the process, for good."""
        self._is_closed = True
        self.stop()

    async def _call_once(self, request: Json, cpu_s: float, pixels: Pixels | None) -> Json:
        process = await self._running_process()
        if pixels is not None:
            process.arena[: pixels.size] = pixels.reshape(-1)
        self._num_requests += 1
        try:
            return await process.call(request, cpu_s)
        except BaseException:  # cancellation too: the process has been killed
            self.stop()
            raise

    async def _running_process(self) -> ChildProcess:
        """A process that dies while it starts is started again: it may have been killed from outside, and no request
        can be the cause. Raises `NotStarted` when several die."""
        if self._process is not None and self._process.is_running:
            return self._process
        try:
            for _ in range(_START_TRIES - 1):
                with contextlib.suppress(ChildDied, OverLimit):
                    return await self._start()
            return await self._start()
        except (ChildDied, OverLimit, OSError) as exc:  # OSError: out of descriptors, memory or processes
            raise NotStarted(f"the {self._spec.name} process does not start: {exc}") from exc

    async def _start(self) -> ChildProcess:
        self.stop()
        if self._is_closed:
            raise NotStarted(f"the {self._spec.name} processes are closed")
        process = self._process = self._spec.make()
        try:
            await process.start()
        except BaseException:  # a cancelled call must not leave a process without a reader
            self.stop()
            process.close()  # `self` may no longer hold it
            raise
        return process


class ChildPool:
    """A fixed number of children. Belongs to one event loop."""

    def __init__(self, spec: ChildSpec, num_children: int) -> None:
        self._idle = [Child(spec) for _ in range(num_children)]
        self._children = tuple(self._idle)
        self._free = asyncio.Semaphore(num_children)

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that run."""
        return [child.pid for child in self._children if child.pid is not None]

    @contextlib.asynccontextmanager
    async def lend(self, key: Hashable = None) -> AsyncGenerator[Child]:
        """A child for this caller alone; if it is idle, the one that was last lent for the same `key`."""
        async with self._free:
            child = self._pick(key)
            self._idle.remove(child)
            child.last_key = key
            try:
                yield child
            finally:
                child.stop_if_spent()
                self._idle.append(child)

    async def close(self) -> None:
        """End all processes, also those at work. Safe to call twice."""
        for child in self._children:
            child.close()
        # The event loop releases closed sockets in its next rounds; without these it may end before.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _pick(self, key: Hashable) -> Child:
        # The most recently used one if none has that key: a small job need not start all processes.
        recent_first = self._idle[::-1]
        return next((child for child in recent_first if child.last_key == key), recent_first[0])


async def once_more(attempt: Callable[[], Awaitable[Result]], error: type[Exception]) -> Result:
    """The result of `attempt`, which is repeated once after `error`: the first process may have died for a reason that
    has nothing to do with the work, such as another's use of memory or its own age. Raises what the second attempt
    raises: then the work is the cause."""
    with contextlib.suppress(error):
        return await attempt()
    return await attempt()


async def or_in_a_fresh_process(attempt: Callable[[], Awaitable[Result]], name: str) -> Result:
    """The result of `attempt`, which is repeated once if its process was starved. Each attempt takes a fresh process,
    called `name` in the message. Raises `QuireError` if the second is starved too: no page or document is the cause."""
    try:
        return await once_more(attempt, Starved)
    except Starved as exc:
        raise QuireError(
            f"two {name} processes could not work, one after the other ({exc}): that is the machine's fault and no "
            "document's. Give it room, then run again; what is done is kept"
        ) from exc
