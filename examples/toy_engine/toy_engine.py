"""A toy engine: says how large a page is and how much of it is dark. It shows how an engine joins Quire."""

from __future__ import annotations

from collections.abc import Callable

from quire.config.settings import Settings
from quire.engines.page_content import content_of
from quire.records import PageImage, Recognition, Request


class ToyEngine:
    """Fulfils `LocalEngine` (`pipeline/engines/base.py`), one page at a time."""

    window = 1

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    async def recognize(
        self, page: PageImage, request: Request, let_go: Callable[[], None] = lambda: None
    ) -> Recognition:
        pixels = content_of(page)
        height, width, _ = pixels.shape
        dark = (pixels.max(axis=2) < self._threshold).mean()
        return Recognition(f"This page is {width} x {height} pixels, and {dark:.1%} of them are dark.")

    async def close(self) -> None:
        """It holds nothing."""


async def start(settings: Settings, num_processes: int) -> ToyEngine:
    return ToyEngine(settings.toy.threshold)
