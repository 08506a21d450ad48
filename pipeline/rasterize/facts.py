"""What pixels and a text layer tell about a page: pure functions, some ten milliseconds a page.

This module does not open documents; the renderers hand it arrays, strings and boxes.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quire.records import INK_MAP_SIDE, LEAST_INK_SHARE, Pixels

CAP_HEIGHT_SHARE = 0.7
"""Height of capitals and digits as a share of the type size, near enough for all text faces."""

COMMON_SHARE = 0.05
"""Glyphs are common where at least this share of the page's characters is no larger."""

_MIN_CONTRAST = 24
_MAX_CONTRAST = 64
_MIN_FAINT_CONTRAST = 8
_NOISE_WIDTHS = 8.0
_GROUND_CELL_PX = 32  # of the page; its median is the ground that faint ink stands out from
_COVER_GRID = 100

Box = tuple[float, float, float, float]


def ink_share(pixels: Pixels) -> float:
    """See `ink`."""
    return ink(pixels)[0]


def ink(pixels: Pixels) -> tuple[float, bytes]:
    """Share of pixels that differ from the page's background (0 to 1), whatever the colour; and where they are, as
    `RasterizedPage.ink_map`.

    The background is the most common level of each channel. To differ is eight times the noise around it, at least 24
    and at most 64 of 255 levels: a scanned blank page keeps its grain and its shading below that. Noise is measured on
    a coarse sample, ink on every pixel, since a lone page number is some twenty pixels in half a million.

    A page without such ink is looked at again for faint ink (`_faint_ink_share`): pencil, carbon copies, pale print.
    """
    height, width = pixels.shape[:2]
    sample = pixels[::5, ::7].reshape(-1, 3)
    ranges = [_background_range(sample[:, channel]) for channel in range(3)]
    low = np.tile(np.array([low for low, _ in ranges], dtype=np.uint8), width)
    breadth = np.tile(np.array([high - low for low, high in ranges], dtype=np.uint8), width)
    # Unsigned arithmetic wraps: all below `low` becomes large, so that one comparison does both sides.
    is_outside = ((pixels.reshape(height, width * 3) - low) > breadth).reshape(-1, 3)
    is_ink = is_outside[:, 0] | is_outside[:, 1] | is_outside[:, 2]
    share = int(np.count_nonzero(is_ink)) / float(height * width)
    if share < LEAST_INK_SHARE:
        return max(share, _faint_ink_share(pixels)), b""
    return share, _map(is_ink.reshape(height, width))


def _map(is_ink: NDArray[np.bool_]) -> bytes:
    """Every other row and column will do: a line of text is some twenty pixels high."""
    picture = Image.fromarray(is_ink[::2, ::2].astype(np.uint8) * np.uint8(255))
    return picture.resize((INK_MAP_SIDE, INK_MAP_SIDE), Image.Resampling.BOX).tobytes()


def _background_range(levels: Pixels) -> tuple[int, int]:
    counts = np.bincount(levels, minlength=256)
    background = int(counts.argmax())
    away = np.abs(np.arange(256) - background)
    order = np.argsort(away, kind="stable")
    median_index = int(np.searchsorted(np.cumsum(counts[order]), levels.size / 2))
    noise = _deviation(float(away[order[median_index]]))
    contrast = round(min(_MAX_CONTRAST, max(_MIN_CONTRAST, _NOISE_WIDTHS * noise)))
    return max(0, background - contrast), min(255, background + contrast)


def _faint_ink_share(pixels: Pixels) -> float:
    """Share of 2 x 2 squares that stand out from the ground around them by eight times the noise, and at least eight
    levels. Averaging squares halves the grain and hardly changes strokes; shading is part of the ground."""
    height, width = (side // 2 for side in pixels.shape[:2])
    if not height or not width:
        return 0.0
    is_ink = np.zeros((height, width), dtype=np.bool_)
    for channel in range(3):
        squares = pixels[: 2 * height, : 2 * width, channel].reshape(height, 2, width, 2).mean((1, 3), np.float32)
        away = np.abs(squares - _ground(squares))
        noise = _deviation(float(np.median(away)))
        is_ink |= away > max(_MIN_FAINT_CONTRAST, _NOISE_WIDTHS * noise)
    return float(is_ink.mean())


def _ground(squares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Medians of the cells of a grid, with smooth steps between them."""
    cell = _GROUND_CELL_PX // 2
    height, width = squares.shape
    rows, cols = -(-height // cell), -(-width // cell)
    padded = np.pad(squares, ((0, rows * cell - height), (0, cols * cell - width)), mode="edge")
    medians = np.median(padded.reshape(rows, cell, cols, cell), axis=(1, 3)).astype(np.float32)
    smooth = Image.fromarray(medians).resize((cols * cell, rows * cell), Image.Resampling.BILINEAR)
    return np.asarray(smooth)[:height, :width]


def _deviation(median_away: float) -> float:
    """The normal deviation of noise, from the median of its absolute values."""
    return 1.4826 * median_away


def count_characters(text: str) -> tuple[int, float]:
    """Number of characters, white space aside, and the share of them that say nothing: private-use and
    control codes, and the replacement character, which stands for glyphs that have no Unicode value."""
    counts = Counter(text)
    total = sum(number for char, number in counts.items() if not char.isspace())
    unreadable = sum(number for char, number in counts.items() if _is_unreadable(char))
    return total, unreadable / total if total else 0.0


def _is_unreadable(char: str) -> bool:
    return not char.isspace() and (unicodedata.category(char) in ("Co", "Cc", "Cn", "Cs") or char == "\ufffd")


def smallest_common_height(sizes: Iterable[tuple[float, int]]) -> float:
    """Height of the smallest common glyphs in the unit of the sizes, 0.0 where there are none.

    `sizes` are (type size, number of characters of it). Height means capital height.
    """
    ordered = sorted((size, number) for size, number in sizes if size > 0)
    wanted = COMMON_SHARE * sum(number for _, number in ordered)
    seen = 0
    for size, number in ordered:
        seen += number
        if seen >= wanted:
            return CAP_HEIGHT_SHARE * size
    return 0.0


def cover_share(boxes: Sequence[Box], page: Box) -> float:
    """Share of the page's area under the boxes' union, to a hundredth of each side."""
    x0, y0, x1, y1 = page
    if not boxes or x1 <= x0 or y1 <= y0:
        return 0.0
    grid = np.zeros((_COVER_GRID, _COVER_GRID), dtype=np.bool_)
    for left, top, right, bottom in boxes:
        cols = [_cell((x - x0) / (x1 - x0)) for x in (left, right)]
        rows = [_cell((y - y0) / (y1 - y0)) for y in (top, bottom)]
        grid[rows[0] : rows[1], cols[0] : cols[1]] = True
    return float(grid.mean())


def _cell(share: float) -> int:
    return round(min(1.0, max(0.0, share)) * _COVER_GRID)
