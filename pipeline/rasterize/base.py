"""The rasterizer contract: page indices in, page images out, whatever happens to the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from quire.engines.held_image import Hold, Rasterized
from quire.records import ImageT, PageRange


class Rasterizer(Protocol[ImageT]):
    """`ImageT` is `PageImage`, or a handle to one where pages are rasterized in other processes."""

    def rasterize(
        self, source: PageRange, page_indices: Sequence[int], mode: str, hold: Hold[ImageT]
    ) -> AsyncIterator[Rasterized[ImageT]]:
        """Exactly one result for each index asked, in that order; a page that cannot be rendered is a result
        with a `Failure`. Raises only for faults that are not the document's (the store is down, say)."""
        ...
