"""A page's image, for as long as somebody needs it.

Pixels are the bulk of what a run holds: ten megabytes a page against kilobytes of text. A model reads them in a
fraction of a second and then writes for half a minute, so they are released as soon as they are read. If they are
needed again, because an engine died or they were lost with a node, they are made again.

Does not know what an image is, nor how one is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Generic

from quire.errors import PageRejected
from quire.records import Failure, ImageInfo, ImageT, RasterizedPage


class ImageNotMade(PageRejected):
    """`failure` is the rasterizer's own, for example that the source was changed meanwhile and must be planned
    again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind, f"its image was let go, and could not be made again: {failure.message}")
        self.failure = replace(failure, message=self.message)


class HeldImage(Generic[ImageT]):
    """One image of one page. For one user at a time.

    `make_again` rasterizes the page once more at the same mode. `resize` is called with the number of bytes held, at
    once and whenever that changes.
    """

    def __init__(
        self,
        image: ImageT,
        num_bytes: int,
        make_again: Callable[[], Awaitable[Rasterized[ImageT]]],
        resize: Callable[[int], None],
    ) -> None:
        self._image: ImageT | None = image
        self._make_again = make_again
        self._resize = resize
        resize(num_bytes)

    async def get(self) -> ImageT:
        """The image, made again if it was released; its bytes then count again. Raises `ImageNotMade` if making it
        fails."""
        if self._image is None:
            page, made = await self._make_again()
            if made is None:
                raise ImageNotMade(why_no_image(page))
            self._image = await made.get()
        return self._image

    def let_go(self) -> None:
        """Release the image. Safe to call twice."""
        self._image = None
        self._resize(0)


Rasterized = tuple[RasterizedPage, HeldImage[ImageT] | None]
"""A page as rasterizers give it: what is known of it, and its image if it has one."""

Hold = Callable[[int, ImageInfo, ImageT], HeldImage[ImageT]]
"""How a caller wants its images held, by page index. Rasterizers call it as soon as they have the pixels, so that none
are uncounted."""


def hold_for_once(page_index: int, info: ImageInfo, image: ImageT) -> HeldImage[ImageT]:
    """A `Hold` for images that are not counted and not needed again."""

    async def make_again() -> Rasterized[ImageT]:
        return RasterizedPage(page_index, renderer="", seconds=0.0), None

    return HeldImage(image, info.num_bytes, make_again, lambda num_bytes: None)


def why_no_image(page: RasterizedPage) -> Failure:
    """Why a page came without an image."""
    return page.failure or Failure("rasterize", "no_image", "the renderer gave no image")
