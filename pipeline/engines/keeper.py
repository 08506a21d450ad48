"""One engine's lives, one after the other: started, waited for, ended, started again, until it is given up.

Knows no pages: a life ends when the pool says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic

from quire.config.sections import EngineSettings
from quire.engines.bounded import Late, within
from quire.engines.slot import Death, Slot, State
from quire.errors import EngineDead, EngineFailure
from quire.quantities import counted
from quire.records import ImageT

_log = logging.getLogger(__name__)

_MAX_LATE_STARTS = 3  # one after the other: each takes the whole `start_timeout_s`
_MAX_FRUITLESS_LIVES = 3  # one after the other
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0  # between two tries to find an engine that is not ready


class Keeper(Generic[ImageT]):
    """`stop_timeout_s`: how long it may take to end an engine, or a start that is given up."""

    def __init__(self, slot: Slot[ImageT], settings: EngineSettings, stop_timeout_s: float) -> None:
        self._slot = slot
        self._settings = settings
        self._stop_timeout_s = stop_timeout_s

    async def keep(self, tell: Callable[[], Awaitable[None]]) -> None:
        """Never returns. `tell` is called when the engine is ready. Raises `EngineFailure` when the engine cannot be
        started, or has died too often to be started again."""
        while True:
            await self._start()
            await tell()
            death = await self._slot.present_life
            if death.may_run:
                await self.stop()
            self._insist(death)
            self._slot.become(State.STARTING)

    async def stop(self) -> None:
        """End the engine. If it cannot be ended, log that and leave it."""
        try:
            await within(self._stop_timeout_s, self._slot.host.stop(), self._stop_timeout_s)
        except Exception as exc:
            _log.warning("an engine cannot be ended: %s", str(exc) or repr(exc))

    async def _start(self) -> None:
        """Return when the engine is ready."""
        limit_s = self._settings.start_timeout_s
        started, pause_s, num_late = time.monotonic(), _FIRST_PAUSE_S, 0
        while True:
            try:
                await within(limit_s, self._slot.host.start(), self._stop_timeout_s)
                self._slot.begin_life()
                return
            except Late as exc:
                num_late += 1
                await self.stop()
                if not exc.has_ended or num_late == _MAX_LATE_STARTS:
                    how = (
                        f"{num_late} times one after the other" if exc.has_ended else "and its start does not end"
                    )
                    raise EngineFailure(f"an engine was not ready within {limit_s:g} s, {how}") from exc
                _log.warning("an engine was not ready within %g s and is started again", limit_s)
            except EngineDead as exc:
                if pause_s == _FIRST_PAUSE_S:
                    _log.warning("an engine is waited for, %g s at most: %s", limit_s, exc)
                if time.monotonic() - started + pause_s > limit_s:
                    raise EngineFailure(f"an engine was not ready within {limit_s:g} s: {exc}") from exc
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except Exception as exc:
                raise EngineFailure(f"an engine cannot start: {exc}") from exc

    def _insist(self, death: Death) -> None:
        if self._slot.num_fruitless == _MAX_FRUITLESS_LIVES:
            raise EngineFailure(
                f"an engine reads nothing, {_MAX_FRUITLESS_LIVES} times one after the other: {death.cause}. See what "
                "`quire doctor` says of it"
            )
        num_deaths = len(self._slot.deaths)
        if num_deaths > self._settings.max_restarts_per_hour:
            raise EngineFailure(
                f"an engine died {counted(num_deaths, 'time')} within an hour, the last time of: {death.cause}"
            )
