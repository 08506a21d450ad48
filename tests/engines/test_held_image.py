"""An image is there while it is held, made again when it is wanted again, and gone from memory in between."""

from __future__ import annotations

import gc
import weakref

import pytest

from quire.engines.held_image import HeldImage, ImageNotMade, Rasterized
from quire.records import Failure, RasterizedPage


class Pixels:
    """Something that can be watched going away."""


class Maker:
    """Makes images again, or fails to."""

    def __init__(self, failure: Failure | None = None) -> None:
        self.num_made = 0
        self.sizes: list[int] = []
        self.failure = failure

    async def make(self) -> Rasterized[Pixels]:
        self.num_made += 1
        held = None if self.failure else HeldImage(Pixels(), 10, self.make, self.sizes.append)
        return RasterizedPage(0, "mupdf", 0.1, failure=self.failure), held


async def test_an_image_that_is_let_go_is_freed_and_made_again() -> None:
    maker, pixels = Maker(), Pixels()
    watched = weakref.ref(pixels)
    held = HeldImage(pixels, 10, maker.make, maker.sizes.append)
    del pixels
    assert await held.get() is watched() and maker.num_made == 0
    held.let_go()
    held.let_go()
    gc.collect()
    assert watched() is None
    first = await held.get()
    assert await held.get() is first
    assert (maker.num_made, maker.sizes) == (1, [10, 0, 0, 10])


async def test_an_image_that_cannot_be_made_again_is_the_pages_failure() -> None:
    maker = Maker(Failure("rasterize", "render_timeout", "no answer"))
    held = HeldImage(Pixels(), 10, maker.make, maker.sizes.append)
    held.let_go()
    with pytest.raises(ImageNotMade, match="render_timeout: .*made again: no answer") as rejected:
        await held.get()
    failure = rejected.value.failure
    assert (failure.stage, failure.kind) == ("rasterize", "render_timeout")
