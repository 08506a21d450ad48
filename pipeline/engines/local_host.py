"""An engine in this process, in the form that its pool needs. Does not know which engine it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quire.engines.base import LocalEngine
from quire.errors import EngineAway
from quire.rasterize.held_image import HeldImage
from quire.records import PageImage, Recognition, Request


class LocalHost:
    """An `EngineHost` in this process: a dead engine is closed and made again."""

    def __init__(self, make: Callable[[], Awaitable[LocalEngine]]) -> None:
        self._make = make
        self._engine: LocalEngine | None = None

    @property
    def window(self) -> int:
        return self._engine.window if self._engine else 1

    async def start(self) -> None:
        await self.stop()
        self._engine = await self._make()

    async def recognize(self, page: HeldImage[PageImage], request: Request) -> Recognition:
        image = await page.get()
        if self._engine is None:
            raise EngineAway("the engine is not running")
        answer = self._engine.recognize(image, request, page.let_go)
        del image  # so the engine has the only reference, and its release frees the pixels
        return await answer

    async def stop(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()
