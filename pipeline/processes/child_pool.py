"""Child processes that are lent, each to one at a time: started when first needed, replaced when they die or are spent.

Does not know what is asked of a child, nor whose fault it is when one dies: it has `once_more` for those who find out.
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
    """The children of a pool: called `name` in messages, and spent after `most_requests`, or when they hold more than
    `most_resident_bytes` after one. Native code leaks."""

    name: str
    make: Callable[[], ChildProcess]
    most_requests: int = sys.maxsize
    most_resident_bytes: int = sys.maxsize


class Child:
    """One process, or the place for one: who borrows it finds one that answers. It is given one request at a time."""

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._process: ChildProcess | None = None
        self._num_requests = 0
        self._is_closed = False
        self.last_key: Hashable = None

    @property
    def num_requests(self) -> int:
        """Requests that the running process has had, 0 where the next one gets a fresh process."""
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
        """Ask the process, `pixels` in its arena; it may take so many seconds of CPU. It is gone after `ChildDied` and
        `OverLimit`. Raises `NotStarted`, and `QuireError` where the machine lets not even a second process work."""
        return await or_in_a_fresh_process(lambda: self._call_once(request, cpu_s, pixels), self._spec.name)

    async def missing_of_cage(self) -> tuple[str, ...]:
        """What of the cage the process lacks, in words; one is started if need be."""
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
        """One that dies while it starts may have been killed from outside, and nothing that was asked has been near it:
        it is started again. Raises `NotStarted` when several die."""
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
        except BaseException:  # who is cancelled leaves no process that nobody reads from
            self.stop()
            process.close()  # which may have been taken from here meanwhile
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
        """A child to oneself, the one that was last lent for the same `key` if it is idle."""
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
        # Closed sockets are let go by the event loop's next rounds, which may be its last ones.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _pick(self, key: Hashable) -> Child:
        # The most recently used one where none has that key: a small job need not start all processes.
        recent_first = self._idle[::-1]
        return next((child for child in recent_first if child.last_key == key), recent_first[0])


async def once_more(attempt: Callable[[], Awaitable[Result]], error: type[Exception]) -> Result:
    """The result of `attempt`, made once more after `error`: a process that died may have been killed for another's
    sake, or been too old. Raises what the second attempt raises: now the work is to blame."""
    with contextlib.suppress(error):
        return await attempt()
    return await attempt()


async def or_in_a_fresh_process(attempt: Callable[[], Awaitable[Result]], name: str) -> Result:
    """The result of `attempt`, made once more where its process was starved; it takes a fresh process each time, called
    `name` in the message. Raises `QuireError` if that is starved too, since no page or document may be blamed."""
    try:
        return await once_more(attempt, Starved)
    except Starved as exc:
        raise QuireError(
            f"two {name} processes could not work, one after the other ({exc}): that is the machine's fault and no "
            "document's. Give it room, then run again; what is done is kept"
        ) from exc
