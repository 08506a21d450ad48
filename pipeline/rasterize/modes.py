"""Resolution modes: how many pixels of a page an engine gets to see, and how many tokens they cost.

Pure arithmetic over sizes. This module does not render, and does not know which mode a page deserves
(the caller does).

A mode makes views of a page. The last view is always the whole page; Gundam puts tiles before it. Sizes
follow DeepSeek-OCR's own preprocessing (https://github.com/deepseek-ai/DeepSeek-OCR), token counts its
projector: h rows of h tokens, one newline token a row, one separator a page, where h = side / 64.

Chat models and OCR engines see one view, the page at its own aspect: `page150`, `side<px>` (the longest side),
`dpi<dpi>x<px>` (both sides multiples of <px>, so that the model's processor need not scale again).

A PDF page has no pixels of its own, so its nominal size, which decides on tiles, is taken at 144 dpi, the
resolution at which DeepSeek's own PDF script renders. A raster image's nominal size is its own.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from quire.errors import ConfigError

NOMINAL_DPI = 144.0
PATCH_PX = 64
"""Page side that becomes one token: patches of 16 px, convolved down four times a side."""
TILE_PX = 640
MAX_TILES = 9
OCR_DPI = 150.0
OCR_MAX_SIDE_PX = 4000
"""Longest side of a page at its own size: an A1 sheet keeps about 120 dpi, and 4000 x 4000 RGB is 48 MB. Larger
detector inputs cost CPU engines gigabytes."""
STRIP_ASPECT = 3.0
"""A page so many times as long as wide is a strip, like a till roll or what a telephone captures while it scrolls."""
_STRIP_MAX_SIDE_PX = 24_000  # within Tesseract's and OpenCV's limit of 32,767
OCR_MIN_SIDE_PX = 32
"""Shortest side of a page at its own size: the detector's stride, below which there is nothing to detect in."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What a mode asks for. `side_px` is 0 where the page keeps its own size, `max_tiles` 0 without tiles.

    The rest is for pages at their own size: their longest side is `longest_px`, or else they are at `dpi`, for which
    an image is never enlarged beyond its pixels; sides are rounded to a multiple of `multiple_px`; `max_pixels` 0
    leaves it to the run's limit. `has_strips`: its engines read strips piece by piece, so that these may be longer.
    """

    fit: Literal["stretch", "pad", "own"]
    side_px: int
    max_tiles: int = 0
    dpi: float = OCR_DPI
    longest_px: int = 0
    multiple_px: int = 1
    max_pixels: int = 0
    has_strips: bool = False


MODES: dict[str, Mode] = {
    "tiny": Mode("stretch", 512),
    "small": Mode("stretch", 640),
    "base": Mode("pad", 1024),
    "large": Mode("pad", 1280),
    "gundam": Mode("pad", 1024, max_tiles=6),
    "gundam9": Mode("pad", 1024, max_tiles=MAX_TILES),
    "page150": Mode("own", 0, has_strips=True),
    "side384": Mode("own", 0, longest_px=384),
    "side1288": Mode("own", 0, longest_px=1288),
    "side1540": Mode("own", 0, longest_px=1540),
    "dpi144x28": Mode("own", 0, dpi=144.0, multiple_px=28),
    "dpi200x28": Mode("own", 0, dpi=200.0, multiple_px=28, max_pixels=11_289_600),
}

PADDING_GREY = 127


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a page's pixels go. All in px; pairs are (width, height) or (x, y).

    `content_px` is the size at which the whole page is rendered, `offset_px` where it sits in the canvas of
    `canvas_px`, whose rest is grey. The tiles are cut from one more rendering of the whole page at `tiled_px`
    (0 x 0 without tiles), stretched to it, row by row.
    """

    mode: str
    canvas_px: tuple[int, int]
    content_px: tuple[int, int]
    offset_px: tuple[int, int]
    tile_cols: int
    tile_rows: int
    num_image_tokens: int

    @property
    def tiled_px(self) -> tuple[int, int]:
        return self.tile_cols * TILE_PX, self.tile_rows * TILE_PX

    @property
    def num_tiles(self) -> int:
        return self.tile_cols * self.tile_rows

    @property
    def content_box(self) -> tuple[float, float, float, float]:
        """Where the page sits in the last view, as shares of that view."""
        (x, y), (width, height) = self.offset_px, self.content_px
        canvas_width, canvas_height = self.canvas_px
        return x / canvas_width, y / canvas_height, (x + width) / canvas_width, (y + height) / canvas_height

    @property
    def view_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Shapes of all views as arrays, the whole page last."""
        width, height = self.canvas_px
        return ((TILE_PX, TILE_PX, 3),) * self.num_tiles + ((height, width, 3),)


def layout(
    mode: str,
    width_pt: float,
    height_pt: float,
    *,
    native_px: tuple[int, int] | None = None,
    max_tiles: int | None = None,
    max_pixels: int = 50_000_000,
) -> Layout:
    """The views of a page of the given size. `native_px` is given for raster images, None for PDF pages.

    `max_tiles` (2 to 9) replaces the mode's own limit. `max_pixels` bounds pages at their own size; the other
    modes have fixed sizes. Raises `ConfigError` for a mode that does not exist.
    """
    chosen = MODES.get(mode) or _refuse(mode)
    nominal_px = native_px or nominal_size_px(width_pt, height_pt)
    if chosen.fit == "own":
        size = _own_size(
            chosen, (width_pt, height_pt), native_px, min(max_pixels, chosen.max_pixels or max_pixels)
        )
        return Layout(mode, size, size, (0, 0), 0, 0, num_image_tokens=0)
    canvas = (chosen.side_px, chosen.side_px)
    content = canvas if chosen.fit == "stretch" else contain(nominal_px, chosen.side_px)
    offset = (round((canvas[0] - content[0]) * 0.5), round((canvas[1] - content[1]) * 0.5))
    cols, rows = _grid_for(nominal_px, chosen, max_tiles)
    return Layout(mode, canvas, content, offset, cols, rows, num_image_tokens(chosen.side_px, cols, rows))


def nominal_size_px(width_pt: float, height_pt: float) -> tuple[int, int]:
    """The size in px that a PDF page is taken to have."""
    return max(1, round(width_pt * NOMINAL_DPI / 72)), max(1, round(height_pt * NOMINAL_DPI / 72))


def contain(size_px: tuple[int, int], side_px: int) -> tuple[int, int]:
    """The largest size of the same aspect inside a square, rounded like Pillow's `ImageOps.contain`."""
    width, height = size_px
    if width >= height:
        return side_px, max(1, round(height / width * side_px))
    return max(1, round(width / height * side_px)), side_px


def tile_grid(size_px: tuple[int, int], max_tiles: int = 6) -> tuple[int, int]:
    """(columns, rows) of the tile grid whose aspect is nearest to the page's, 2 to `max_tiles` tiles.

    On a tie the larger grid wins if the page fills more than half of it. No tiles, (0, 0), where the page
    fits into one.
    """
    width, height = size_px
    if width <= TILE_PX and height <= TILE_PX:
        return 0, 0
    aspect, area = width / height, width * height
    best, best_difference = (0, 0), float("inf")
    for cols, rows in _grids(max_tiles):
        difference = abs(aspect - cols / rows)
        is_filled = area > 0.5 * TILE_PX * TILE_PX * cols * rows
        if difference < best_difference or (difference == best_difference and is_filled):
            best, best_difference = (cols, rows), difference
    return best


def num_image_tokens(side_px: int, tile_cols: int = 0, tile_rows: int = 0) -> int:
    """Tokens that a language model sees: the tiles' rows and newlines, the whole page's, one separator."""
    side = side_px // PATCH_PX
    tile_side = TILE_PX // PATCH_PX
    tiles = tile_side * tile_rows * (tile_side * tile_cols + 1) if tile_cols else 0
    return tiles + side * (side + 1) + 1


def _grids(max_tiles: int) -> list[tuple[int, int]]:
    sides = range(1, max_tiles + 1)
    grids = [(cols, rows) for cols in sides for rows in sides if 2 <= cols * rows <= max_tiles]
    return sorted(grids, key=lambda grid: (grid[0] * grid[1], grid[0]))


def _grid_for(nominal_px: tuple[int, int], mode: Mode, max_tiles: int | None) -> tuple[int, int]:
    limit = mode.max_tiles if max_tiles is None else max_tiles
    if not mode.max_tiles:
        return 0, 0
    if not 2 <= limit <= MAX_TILES:
        raise ConfigError(f"max_tiles is {limit}; it must be 2 to {MAX_TILES}")
    return tile_grid(nominal_px, limit)


def _own_size(
    mode: Mode, size_pt: tuple[float, float], native_px: tuple[int, int] | None, max_pixels: int
) -> tuple[int, int]:
    """The page at the mode's resolution or longest side; then within the limits, which win over it.

    Pages longer than 125 times their width are widened to the least side, so the result is never empty.
    """
    width_pt, height_pt = size_pt
    scale = mode.longest_px / max(size_pt) if mode.longest_px else mode.dpi / 72
    if native_px is not None and not mode.longest_px:
        scale = min(scale, native_px[0] / width_pt)
    scale = max(scale, OCR_MIN_SIDE_PX / min(size_pt))
    largest = (min(max_pixels, OCR_MAX_SIDE_PX**2) / (width_pt * height_pt)) ** 0.5
    longest_px = mode.longest_px or OCR_MAX_SIDE_PX
    if mode.has_strips:
        longest_px = max(
            longest_px, min(_STRIP_MAX_SIDE_PX, longest_px * max(size_pt) / min(size_pt) / STRIP_ASPECT)
        )
    scale = min(scale, longest_px / max(size_pt), largest)
    width, height = (_rounded(side * scale, mode.multiple_px) for side in size_pt)
    return width, height


def _rounded(side_px: float, multiple_px: int) -> int:
    """Rounded down, so that no limit is passed; but no less than the least side, rounded up to the multiple."""
    least = -(-OCR_MIN_SIDE_PX // multiple_px) * multiple_px
    return max(least, int(side_px + 1e-6) // multiple_px * multiple_px)


def _refuse(mode: str) -> Mode:
    nearest = difflib.get_close_matches(mode, MODES, n=1, cutoff=0.0)[0]
    raise ConfigError(f"unknown mode {mode!r}; did you mean {nearest!r}? Modes: {', '.join(MODES)}")
