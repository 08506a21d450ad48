"""Pages much longer than wide, cut into pieces that overlap, and the boxes found on the pieces joined again.

Runs in the recogniser's child process. Knows pixels and boxes, not what finds the boxes. Quads: see `straighten`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quire.engines.cpu.straighten import Quads
from quire.page_layout.lines import Box
from quire.rasterize.modes import STRIP_ASPECT
from quire.records import Pixels

_LENGTH_PX = 1600  # of a piece, along the strip
_OVERLAP_PX = 320  # a heading's height, and enough of a line along the strip to find it on both pieces
_SAME_LINE = 0.6  # of the smaller box's side across the strip: boxes that share more are of one line


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows (or columns, where `axis` is 1) `start` to `stop` of a page."""

    axis: int
    start: int
    stop: int

    def of(self, page: Pixels) -> Pixels:
        piece = page[self.start : self.stop] if self.axis == 0 else page[:, self.start : self.stop]
        return np.ascontiguousarray(piece)


def is_strip(page: Pixels) -> bool:
    height, width = page.shape[:2]
    return max(height, width) > max(_LENGTH_PX + _OVERLAP_PX, STRIP_ASPECT * min(height, width))


def pieces_of(page: Pixels) -> list[Piece]:
    """From one end of the strip to the other; neighbours overlap."""
    height, width = page.shape[:2]
    axis, length = (0, height) if height >= width else (1, width)
    starts = range(0, max(1, length - _OVERLAP_PX), _LENGTH_PX - _OVERLAP_PX)
    return [Piece(axis, start, min(start + _LENGTH_PX, length)) for start in starts]


def join_pieces(found: Sequence[tuple[Piece, Quads]]) -> Quads:
    """The boxes of all pieces, on the page. A box that reaches into the overlap of two pieces is found on both, perhaps
    in part: two boxes of one line become the box around both."""
    joined: list[tuple[Quads, Box]] = []
    for piece, quads in found:
        shift = np.array([piece.start, 0] if piece.axis == 1 else [0, piece.start], np.float32)
        before = [index for index, (_, box) in enumerate(joined) if box[3 - piece.axis] > piece.start]
        for quad in quads + shift:
            box = _box_of(quad)
            twin = next((index for index in before if _is_same(joined[index][1], box, piece.axis)), None)
            if twin is None:
                joined.append((quad, box))
            else:
                joined[twin] = _around(joined[twin], (quad, box))
    return np.stack([quad for quad, _ in joined]) if joined else np.zeros((0, 4, 2), np.float32)


def _box_of(quad: Quads) -> Box:
    (x0, y0), (x1, y1) = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
    return x0, y0, x1, y1


def _is_same(one: Box, other: Box, axis: int) -> bool:
    """Whether two boxes share half of the shorter one, or of the overlap, along the strip, and most of one across
    it."""
    along, across = 1 - axis, axis
    least = min(_length(one, along) / 2, _length(other, along) / 2, _OVERLAP_PX / 2)
    least_across = _SAME_LINE * min(_length(one, across), _length(other, across))
    return _common(one, other, along) > least and _common(one, other, across) > least_across


def _length(box: Box, side: int) -> float:
    return box[2 + side] - box[side]


def _common(one: Box, other: Box, side: int) -> float:
    """Length that two boxes have in common, by their x (side 0) or y (side 1)."""
    return min(one[2 + side], other[2 + side]) - max(one[side], other[side])


def _around(one: tuple[Quads, Box], other: tuple[Quads, Box]) -> tuple[Quads, Box]:
    """The level box around two; if one of them fills it, that one as it is, since it may be slanted."""
    (_, a), (_, b) = one, other
    x0, y0, x1, y1 = box = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    for candidate in (one, other):
        if candidate[1] == box:
            return candidate
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32), box
