"""Several engines behind the contract of one: least loaded first, and what happens when one dies.

An engine's death costs the attempts in flight on it; one that does not answer, or is not ready, in time is stuck, is
stopped, and counts as dead. Each of those pages is under suspicion once more and is tried again elsewhere; a page
under suspicion twice runs alone on an idle engine, so that if this engine dies too the page is to blame, and no
innocent neighbour is. Restarts are bounded per hour: engines that keep dying with no page to blame, or of one page
after the other without reading any, stop the run instead of burning it. So do engines that are not ready in time,
again and again.

Does not know what an engine is, nor where it runs: `EngineHost` is one engine that can be started again, in this
process or behind a Ray actor.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol

from pipeline.errors import EngineDead, EngineFailure, PageRejected
from pipeline.held_image import HeldImage
from pipeline.records import ImageT, Recognition, Request

_log = logging.getLogger(__name__)

_SUSPICIONS_BEFORE_ALONE = 2
_MAX_LATE_STARTS = 3  # one after the other: each takes as long as the longest that is waited for


class EngineHost(Protocol[ImageT]):
    """One engine, and the way to have it again after it died."""

    @property
    def window(self) -> int: ...

    async def start(self) -> None:
        """Have the engine ready, again if it died. Returns when it answers; raises `EngineDead` if it cannot."""
        ...

    async def recognize(self, page: HeldImage[ImageT], request: Request) -> Recognition: ...

    async def stop(self) -> None:
        """End the engine, however stuck it is. It can be started again."""
        ...


@dataclass(slots=True, eq=False)
class _Slot(Generic[ImageT]):
    """An engine as the pool sees it. `num_deaths` tells one life from the next."""

    host: EngineHost[ImageT]
    is_alive: bool = False
    is_starting: bool = False
    is_reserved: bool = False  # for a page that runs alone
    num_busy: int = 0
    num_deaths: int = 0
    num_late_starts: int = 0  # one after the other
    deaths: deque[float] = field(default_factory=deque)  # times, of the last hour

    @property
    def is_open(self) -> bool:
        """Whether it takes pages as they come."""
        return self.is_alive and not self.is_reserved


class EnginePool(Generic[ImageT]):
    """Fulfils the engine contract over its hosts. `start` begins to start them all and returns at once, so that
    models load while the first pages are rasterized; pages wait for whichever engine is ready first."""

    def __init__(
        self,
        hosts: Sequence[EngineHost[ImageT]],
        max_restarts_per_hour: int,
        stuck_after_s: float,
        start_timeout_s: float,
    ) -> None:
        self._slots = [_Slot(host) for host in hosts]
        self._stuck_after_s = stuck_after_s
        self._start_timeout_s = start_timeout_s
        self._max_restarts_per_hour = max_restarts_per_hour
        self._changed = asyncio.Condition()
        self._has_room = asyncio.Condition()
        self._starting: set[asyncio.Task[None]] = set()
        self._failure: EngineFailure | None = None
        self._num_read = 0

    @property
    def window(self) -> int:
        return sum(slot.host.window for slot in self._slots)

    @property
    def num_busy(self) -> int:
        return sum(slot.num_busy for slot in self._slots)

    @property
    def num_alive(self) -> int:
        return sum(slot.is_alive for slot in self._slots)

    @property
    def num_slots(self) -> int:
        """The window of the engines that are alive."""
        return sum(slot.host.window for slot in self._slots if slot.is_alive)

    @property
    def num_deaths(self) -> int:
        return sum(slot.num_deaths for slot in self._slots)

    def start(self) -> None:
        for slot in self._slots:
            self._start(slot)

    async def recognize(self, page: HeldImage[ImageT], request: Request) -> Recognition:
        """Raises `PageRejected` (kind `engine_crash` for a page that kills engines, `engine_timeout` for one that
        they never answer) or `EngineFailure`."""
        suspected_of: list[tuple[_Slot[ImageT], float]] = []
        num_read = 0  # by the time of the first suspicion
        while True:
            alone = len(suspected_of) >= _SUSPICIONS_BEFORE_ALONE
            async with self._slot(alone) as slot:
                life = slot.num_deaths
                limit = asyncio.timeout(self._stuck_after_s)
                try:
                    async with limit:
                        recognition = await slot.host.recognize(page, request)
                    self._num_read += 1
                    return recognition
                except (EngineDead, TimeoutError) as exc:
                    is_stuck = limit.expired()
                    cause = f"no answer within {self._stuck_after_s:g} s" if is_stuck else str(exc)
                    num_read = num_read if suspected_of else self._num_read
                    died_at = await self._bury(slot, life, cause, is_stuck)
                    suspected_of.append((slot, died_at))
                    if alone:
                        raise self._blame(suspected_of, is_stuck, self._num_read > num_read) from exc

    def _blame(
        self, suspected_of: Sequence[tuple[_Slot[ImageT], float]], is_stuck: bool, are_others_read: bool
    ) -> PageRejected:
        """The page is guilty. Its deaths no longer count against the engines, if they have read others since the first:
        engines that read nothing are at fault themselves, whatever page they have."""
        for slot, died_at in suspected_of if are_others_read else ():
            if died_at in slot.deaths:
                slot.deaths.remove(died_at)
        if is_stuck:
            return PageRejected(
                "engine_timeout", "an engine did not answer, the last time when it had this page alone"
            )
        return PageRejected(
            "engine_crash", "engines died with this page in flight, the last one when it ran alone"
        )

    async def close(self) -> None:
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(slot.host.stop() for slot in self._slots), return_exceptions=True)

    @asynccontextmanager
    async def _slot(self, alone: bool) -> AsyncGenerator[_Slot[ImageT]]:
        slot = await (self._idle_slot() if alone else self._free_slot())
        slot.num_busy += 1
        try:
            yield slot
        finally:
            slot.num_busy -= 1
            if alone:
                slot.is_reserved = False
            await self._tell()

    async def _tell(self) -> None:
        """Wake those who wait for a change. Of the pages that wait for room, which may be thousands, only so many as
        there is room for."""
        async with self._changed:
            self._changed.notify_all()
        async with self._has_room:
            num_free = sum(max(0, slot.host.window - slot.num_busy) for slot in self._slots if slot.is_open)
            self._has_room.notify(num_free if self._failure is None else sys.maxsize)

    async def _free_slot(self) -> _Slot[ImageT]:
        """The least loaded live engine with room, once there is one."""
        async with self._has_room:
            while True:
                self._raise_failure()
                free = [slot for slot in self._slots if slot.is_open and slot.num_busy < slot.host.window]
                if free:
                    return min(free, key=lambda s: s.num_busy / s.host.window)
                await self._has_room.wait()

    async def _idle_slot(self) -> _Slot[ImageT]:
        """An engine that takes no further pages and has finished those it had. It is reserved."""
        async with self._changed:
            while True:
                self._raise_failure()
                candidates = [slot for slot in self._slots if slot.is_open]
                if candidates and await self._empty(slot := min(candidates, key=lambda s: s.num_busy)):
                    return slot
                await self._changed.wait()

    async def _empty(self, slot: _Slot[ImageT]) -> bool:
        """Reserve the engine and wait until nothing runs on it. False if it is given up meanwhile."""
        slot.is_reserved = True
        try:
            while slot.num_busy or not slot.is_alive:
                self._raise_failure()
                if not slot.is_alive and not slot.is_starting:
                    slot.is_reserved = False
                    return False
                await self._changed.wait()
        except BaseException:
            slot.is_reserved = False
            raise
        return True

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _bury(self, slot: _Slot[ImageT], life: int, cause: str, is_stuck: bool = False) -> float:
        """Note a death once, however many pages report it, and start the engine again. Returns its time."""
        if slot.num_deaths != life:
            return slot.deaths[-1] if slot.deaths else 0.0
        slot.is_alive = False
        slot.num_deaths += 1
        now = time.monotonic()
        slot.deaths.append(now)
        while slot.deaths[0] < now - 3600:
            slot.deaths.popleft()
        _log.warning("an engine died with %d pages in flight: %s", slot.num_busy, cause)
        if is_stuck:
            await slot.host.stop()
        if len(slot.deaths) > self._max_restarts_per_hour:
            self._give_up(
                slot, f"an engine died {len(slot.deaths)} times within an hour, the last time of: {cause}"
            )
        else:
            self._start(slot)
        return now

    def _start(self, slot: _Slot[ImageT]) -> None:
        slot.is_starting = True
        task = asyncio.get_running_loop().create_task(self._start_slot(slot))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start_slot(self, slot: _Slot[ImageT]) -> None:
        life = slot.num_deaths
        limit = asyncio.timeout(self._start_timeout_s)
        try:
            async with limit:
                await slot.host.start()
        except (EngineDead, TimeoutError) as exc:
            is_late = limit.expired()
            cause = f"not ready within {self._start_timeout_s:g} s" if is_late else str(exc) or repr(exc)
            slot.is_starting = False
            slot.num_late_starts += is_late
            if slot.num_late_starts == _MAX_LATE_STARTS:
                await slot.host.stop()
                self._give_up(slot, f"an engine was {cause}, {_MAX_LATE_STARTS} times one after the other")
            else:
                await self._bury(slot, life, cause, is_late)
        except Exception as exc:
            self._give_up(slot, f"an engine cannot start: {exc}", exc)
        else:
            slot.is_starting, slot.is_alive, slot.num_late_starts = False, True, 0
        await self._tell()

    def _give_up(self, slot: _Slot[ImageT], message: str, cause: BaseException | None = None) -> None:
        """Go on without this engine; stop the run if it was the last one."""
        _log.error("%s; the run goes on without it if it can", message)
        slot.is_starting = False
        if not any(other.is_alive or other.is_starting for other in self._slots):
            self._failure = EngineFailure(message)
            self._failure.__cause__ = cause
