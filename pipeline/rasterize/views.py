"""A page's pixels between a renderer and the arena: padding, tiles, their hash.

This module does not render. Renderers hand it the whole page at the sizes that a layout asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quire.rasterize.modes import MAX_TILES, OCR_MAX_SIDE_PX, PADDING_GREY, TILE_PX, Layout
from quire.records import PageFacts, Pixels

ARENA_BYTES = 3 * max(OCR_MAX_SIDE_PX**2, MAX_TILES * TILE_PX**2 + 1280**2)
"""Shared memory of one worker: the largest page of any mode. What is not written to costs no memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """One page as a renderer made it. `page` is the whole page at `layout.content_px`, without padding; `tiled` the
    whole page at `layout.tiled_px`, None without tiles. `damage` says what could not be drawn, or only in part; ""
    mostly. `ink_map`: see `RasterizedPage`."""

    layout: Layout
    page: Pixels
    tiled: Pixels | None
    facts: PageFacts
    ink_map: bytes = b""
    damage: str = ""


class OpenDocument(Protocol):
    """A document that one renderer holds open. Pages are 0-based."""

    @property
    def num_pages(self) -> int: ...

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]: ...

    def embedded_files(self, num_pages: int) -> Iterator[str]:
        """The names of the files inside it: attachments, then those of annotations on its first `num_pages` pages that
        are no attachments."""
        ...

    def render(self, page_index: int, mode: str, max_pixels: int) -> Rendering:
        """One page at one mode. Raises `RenderFailure`, or whatever the library raises."""
        ...

    def close(self) -> None: ...


class RenderFailure(Exception):
    """A page that cannot be rendered, with the kind to count it by."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message


class WrongPassword(Exception):
    """No password given opens the document."""


def write_views(rendering: Rendering, arena: Pixels) -> int:
    """Write all views into the arena one after the other, tiles first, and return the bytes written."""
    layout, start = rendering.layout, 0
    for shape in layout.view_shapes[:-1]:
        tile_index = start // (TILE_PX * TILE_PX * 3)
        _view(arena, start, shape)[:] = _tile(rendering, tile_index)
        start += shape[0] * shape[1] * shape[2]
    canvas = _view(arena, start, layout.view_shapes[-1])
    (x, y), (width, height) = layout.offset_px, layout.content_px
    canvas[:y] = canvas[y + height :] = PADDING_GREY
    canvas[:, :x] = canvas[:, x + width :] = PADDING_GREY
    canvas[y : y + height, x : x + width] = rendering.page
    return start + canvas.size


def read_views(arena: Pixels, shapes: tuple[tuple[int, int, int], ...]) -> tuple[Pixels, ...]:
    """Views of the given shapes that point into the arena: copy them before the next page is rendered."""
    views, start = [], 0
    for shape in shapes:
        views.append(_view(arena, start, shape))
        start += shape[0] * shape[1] * shape[2]
    return tuple(views)


def hash_views(mode: str, shapes: tuple[tuple[int, int, int], ...], pixels: Pixels) -> str:
    """sha256 in hex over the mode, the views' shapes and all their bytes."""
    digest = hashlib.sha256(f"{mode}{shapes}".encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def empty_pixels(size_px: tuple[int, int]) -> Pixels:
    return np.empty((size_px[1], size_px[0], 3), dtype=np.uint8)


def _view(arena: Pixels, start: int, shape: tuple[int, int, int]) -> Pixels:
    return arena[start : start + shape[0] * shape[1] * shape[2]].reshape(shape)


def _tile(rendering: Rendering, tile_index: int) -> Pixels:
    if rendering.tiled is None:
        raise ValueError("the layout has tiles but the page was not rendered for them")
    row, col = divmod(tile_index, rendering.layout.tile_cols)
    top, left = row * TILE_PX, col * TILE_PX
    return rendering.tiled[top : top + TILE_PX, left : left + TILE_PX]
