"""The engine contract.

An engine reads one page image at a time and keeps no state between pages. It adds no parallelism of its own
beyond `window`: callers keep at most that many `recognize` calls in flight. An engine that has raised
`EngineDead` stays dead; whoever started it starts another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from quire.rasterize.held_image import HeldImage
from quire.records import ImageT, PageImage, Recognition, Request


class Engine(Protocol[ImageT]):
    """What a page's attempts are sent to. `ImageT` is `PageImage`, or a handle to one where engines live in other
    processes."""

    @property
    def window(self) -> int:
        """Pages that the engine wants in flight."""
        ...

    async def recognize(self, page: HeldImage[ImageT], request: Request) -> Recognition:
        """One attempt at one page. Raises `EngineDead`, `EngineAway` if it did not get to the page, `ImageLost` or
        `PageRejected`."""
        ...


class LocalEngine(Protocol):
    """An engine that reads pixels in this process or its children."""

    @property
    def window(self) -> int:
        """Pages that the engine wants in flight."""
        ...

    async def recognize(
        self, page: PageImage, request: Request, let_go: Callable[[], None] = lambda: None
    ) -> Recognition:
        """One attempt at one page. Raises `EngineDead`, `EngineAway` if it did not get to the page, or `PageRejected`.

        An engine that has read the pixels long before it answers drops `page` and calls `let_go`, once.
        """
        ...

    async def close(self) -> None: ...
