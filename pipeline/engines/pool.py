"""Several engines behind the contract of one: least loaded first, and what happens when one dies.

When an engine dies, the attempts in flight on it are lost. An engine that does not answer, or is not ready, in time is
stuck: it is stopped, and counts as dead. Each of its pages comes under suspicion once more and is tried again
elsewhere. A page under suspicion twice runs alone on an idle engine: if this engine dies too, the page is to blame, and
no innocent neighbour is.

No page is blamed for what an engine does to every page. An engine that runs a page alone must have read another page
since it was started; an engine that rejects a page must have read another one meanwhile. If not, it is given a page of
Quire's own to read. If that fails, too, the engine is at fault, and the page is read elsewhere. Restarts per hour are
bounded, and so is the time until an engine must be ready. An engine that keeps dying with no page to blame, or on one
page after the other without reading any, is given up; with the last engine, the run stops.

Nothing waits for ever, whatever a host does: each call to it has a time limit, and a host that raises an unexpected
error ends the run. Does not know what an engine is, nor where it runs: a host is one engine that can be started again,
in this process or behind a Ray actor.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic

from quire.config.sections import EngineSettings
from quire.engines.bounded import Late, within
from quire.engines.keeper import Keeper
from quire.engines.slot import Death, EngineHost, Life, Slot, State
from quire.errors import ENGINE_FAULTS, EngineAway, EngineDead, EngineFailure, PageRejected
from quire.quantities import counted
from quire.rasterize.held_image import HeldImage, Rasterized
from quire.records import ImageT, Recognition, Request

_log = logging.getLogger(__name__)

_SUSPICIONS_BEFORE_ALONE = 2


class EnginePool(Generic[ImageT]):
    """Fulfils the engine contract over its hosts. `start` begins to start them all and returns at once, so that
    models load while the first pages are rasterized; pages wait for whichever engine is ready first."""

    def __init__(
        self,
        hosts: Sequence[EngineHost[ImageT]],
        settings: EngineSettings,
        make_known_page: Callable[[str], Awaitable[Rasterized[ImageT]]],
        stop_timeout_s: float = 60.0,
    ) -> None:
        """`make_known_page(mode)` draws a page of Quire's own. `stop_timeout_s` bounds how long it may take to end an
        engine, or a call that is given up."""
        self._slots = [Slot(host) for host in hosts]
        self._settings = settings
        self._make_known_page = make_known_page
        self._stop_timeout_s = stop_timeout_s
        self._keepers = [Keeper(slot, settings, stop_timeout_s) for slot in self._slots]
        self._changed = asyncio.Condition()
        self._has_room = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: Exception | None = None
        self._num_read = 0  # pages, without Quire's own

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
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep(*each)) for each in zip(self._slots, self._keepers, strict=True)
        ]

    async def close(self) -> None:
        self._failure = self._failure or EngineFailure("the engines are closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers))
        await self._tell()

    # --- one page

    async def recognize(self, page: HeldImage[ImageT], request: Request) -> Recognition:
        """Raises `PageRejected` (kind `engine_crash` for a page that kills engines, `engine_timeout` for one that
        they never answer) or `EngineFailure`."""
        suspicions: list[tuple[Slot[ImageT], Death]] = []
        num_read = self._num_read
        while True:
            await page.get()  # before the attempt's timeout starts: making it again may take long
            alone = len(suspicions) >= _SUSPICIONS_BEFORE_ALONE
            async with self._slot(alone) as (slot, life):
                if life.done() or (alone and not await self._proves(slot, life, request, num_proofs=0)):
                    continue
                num_proofs = slot.num_proofs
                try:
                    recognition = await self._within(slot.host.recognize(page, request))
                except PageRejected as exc:
                    if exc.kind not in ENGINE_FAULTS or await self._proves(slot, life, request, num_proofs):
                        raise
                    continue
                except EngineAway as exc:
                    self._bury(slot, life, str(exc))
                    continue
                except (EngineDead, Late) as exc:
                    suspicions.append((slot, self._bury(slot, life, _words(exc), may_run=isinstance(exc, Late))))
                else:
                    slot.note_proof()
                    self._num_read += 1
                    return recognition
            if alone:
                raise self._blame(suspicions, are_others_read=self._num_read > num_read)

    def _blame(self, suspicions: Sequence[tuple[Slot[ImageT], Death]], are_others_read: bool) -> PageRejected:
        """The page is to blame. The deaths that it caused no longer count against the engines if these have read other
        pages since it came. Otherwise they count: engines that read no page of the run could die without end."""
        for slot, death in suspicions if are_others_read else ():
            if death in slot.deaths:
                slot.deaths.remove(death)
        if suspicions[-1][1].may_run:
            return PageRejected(
                "engine_timeout", "an engine did not answer, the last time when it had this page alone"
            )
        return PageRejected(
            "engine_crash", "engines died with this page in flight, the last one when it ran alone"
        )

    async def _proves(self, slot: Slot[ImageT], life: Life, request: Request, num_proofs: int) -> bool:
        """Whether the engine, in this life, has read more than `num_proofs` pages, Quire's own if need be. An engine
        that has not is ended, and started again."""
        async with slot.proving:
            if life.done() or slot.num_proofs > num_proofs:
                return not life.done()
            page = await self._known_page(request.mode)
            try:
                await self._within(slot.host.recognize(page, request))
            except PageRejected as exc:
                if exc.kind in ENGINE_FAULTS:
                    return self._fails(slot, life, exc, num_fruitless=1)
            except Late as exc:
                return self._fails(slot, life, exc, num_fruitless=1)
            except EngineDead as exc:  # perhaps of another page that it had meanwhile, or only for a while
                return self._fails(slot, life, exc, num_fruitless=0)
            slot.note_proof()
            return True

    def _fails(self, slot: Slot[ImageT], life: Life, error: Exception, num_fruitless: int) -> bool:
        slot.num_fruitless += num_fruitless
        self._bury(slot, life, f"it fails on a page of Quire's own, too: {_words(error)}", may_run=True)
        return False

    async def _within(self, attempt: Coroutine[Any, Any, Recognition]) -> Recognition:
        return await within(self._settings.stuck_after_s, attempt, self._stop_timeout_s)

    async def _known_page(self, mode: str) -> HeldImage[ImageT]:
        page, image = await self._make_known_page(mode)
        if image is None:
            raise EngineFailure(f"Quire's own page cannot be drawn: {page.failure}")
        return image

    # --- waiting for an engine

    @asynccontextmanager
    async def _slot(self, alone: bool) -> AsyncGenerator[tuple[Slot[ImageT], Life]]:
        """An engine, and its life when it was chosen: it may have died since, while this waited for its other pages."""
        slot, life = await (self._reserved_slot() if alone else self._free_slot())
        try:
            if alone:
                await self._wait_until_idle(slot, life)
            slot.num_busy += 1
            try:
                yield slot, life
            finally:
                slot.num_busy -= 1
        finally:
            if alone:
                slot.release(life)
            await self._tell()

    async def _tell(self) -> None:
        """Wake what waits for a change. Thousands of pages may wait for room: wake only as many as there is room
        for."""
        async with self._changed:
            self._changed.notify_all()
        async with self._has_room:
            num_free = sum(slot.num_free for slot in self._slots)
            self._has_room.notify(num_free if self._failure is None else sys.maxsize)

    async def _free_slot(self) -> tuple[Slot[ImageT], Life]:
        """The least loaded live engine with room, once there is one."""
        async with self._has_room:
            while True:
                self._raise_failure()
                free = [slot for slot in self._slots if slot.num_free]
                if free:
                    slot = min(free, key=lambda s: s.num_busy / s.host.window)
                    return slot, slot.present_life
                await self._has_room.wait()

    async def _reserved_slot(self) -> tuple[Slot[ImageT], Life]:
        """The live engine with the fewest pages, which takes no further ones."""
        async with self._changed:
            while True:
                self._raise_failure()
                ready = [slot for slot in self._slots if slot.state is State.READY]
                if ready:
                    slot = min(ready, key=lambda s: s.num_busy)
                    slot.become(State.RESERVED)
                    return slot, slot.present_life
                await self._changed.wait()

    async def _wait_until_idle(self, slot: Slot[ImageT], life: Life) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._failure or life.done() or not slot.num_busy)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- one engine

    def _bury(self, slot: Slot[ImageT], life: Life, cause: str, may_run: bool = False) -> Death:
        if not life.done():
            _log.warning("an engine died with %s in flight: %s", counted(slot.num_busy, "page"), cause)
        return slot.end_life(life, Death(time.monotonic(), cause, may_run))

    async def _keep(self, slot: Slot[ImageT], keeper: Keeper[ImageT]) -> None:
        """Any unexpected error here ends the run: else pages would wait for an engine that nothing starts."""
        try:
            await keeper.keep(self._tell)
        except EngineFailure as exc:
            self._give_up(slot, exc)
        except Exception as exc:
            self._failure = exc
        await self._tell()

    def _give_up(self, slot: Slot[ImageT], failure: EngineFailure) -> None:
        """Go on without this engine; stop the run if it was the last one."""
        slot.become(State.GONE)
        if all(other.state is State.GONE for other in self._slots):
            self._failure = failure
        else:
            _log.error("%s; the run goes on without it", failure)


def _words(error: Exception) -> str:
    return str(error) or repr(error)
