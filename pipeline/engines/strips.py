"""Pages much longer than wide, cut into pieces that overlap, and the boxes found on the pieces joined again.

Runs in the recogniser's child process. Knows pixels and boxes, not what finds the boxes. Quads: see `straighten`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.engines.straighten import Quads
from pipeline.modes import STRIP_ASPECT
from pipeline.records import Pixels

_LENGTH_PX = 1600  # of a piece, along the strip
_OVERLAP_PX = 320  # a heading's height, and enough of a line that runs along the strip to know it again
_SAME_LINE = 0.6  # of the smaller box's side across the strip: so much in common makes two boxes one line


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
    in part: what is of one line becomes the box around both."""
    joined: list[Quads] = []
    for piece, quads in found:
        shift = np.array([piece.start, 0] if piece.axis == 1 else [0, piece.start], np.float32)
        before = [index for index, quad in enumerate(joined) if _end(quad, piece.axis) > piece.start]
        for quad in quads + shift:
            twins = [index for index in before if _is_same(joined[index], quad, piece.axis)]
            if twins:
                joined[twins[0]] = _around(joined[twins[0]], quad)
            else:
                joined.append(quad)
    return np.stack(joined) if joined else np.zeros((0, 4, 2), np.float32)


def _end(quad: Quads, axis: int) -> float:
    """Where a box ends along the strip."""
    return float(quad[:, 1 - axis].max())


def _is_same(one: Quads, other: Quads, axis: int) -> bool:
    """Whether two boxes have half of one, or of the overlap, in common along the strip, and most of one across it."""
    along, across = 1 - axis, axis
    least = min(_length(one, along) / 2, _length(other, along) / 2, _OVERLAP_PX / 2)
    least_across = _SAME_LINE * min(_length(one, across), _length(other, across))
    return (
        _common(one[:, along], other[:, along]) > least
        and _common(one[:, across], other[:, across]) > least_across
    )


def _length(quad: Quads, side: int) -> float:
    return float(np.ptp(quad[:, side]))


def _common(one: Quads, other: Quads) -> float:
    """Length that two intervals have in common."""
    return float(min(one.max(), other.max()) - max(one.min(), other.min()))


def _around(one: Quads, other: Quads) -> Quads:
    """The level box around two; either of them where it is the whole of it, as it may be slanted."""
    both = np.concatenate([one, other])
    (x0, y0), (x1, y1) = both.min(axis=0), both.max(axis=0)
    for quad in (one, other):
        if np.ptp(quad[:, 0]) >= 0.98 * (x1 - x0) and np.ptp(quad[:, 1]) >= 0.98 * (y1 - y0):
            return quad
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)
