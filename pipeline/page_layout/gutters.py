"""Detected boxes that join two columns are cut where their lines share a gap.

Input are boxes with the gaps in their ink, as numbers; nothing here sees a pixel. A wide gap is cut by itself; a narrow
one only where it is part of a white strip that several lines above and below leave free, because justified text has
word spaces as wide as some gutters. An extra cut does little harm: fragments of one row that no column separates are
joined again in reading order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quire.page_layout.lines import Box, Interval

MIN_GAP = 0.2
"""Narrowest gap worth reporting, in heights of its box: about a word space."""

_ALIGNED = 0.5  # line heights; a word space is a gutter if the text after it is aligned with the cells ...
_MIN_ALIGNED_LINES = 3  # ... of so many lines: the header of a table may nearly fill its columns
_CUTS = ((2.5, 1), (1.2, 2), (0.5, 4))
"""(gap width in line heights, lines that must share it). Chosen on two- and three-column pages at 150 dpi."""
_REACH = 2.2  # a strip goes on to the next line within so many line heights
_SIDE = 8.0  # both neighbours of a strip lie within so many line heights of it


@dataclass(frozen=True, slots=True)
class GappedBox:
    """A detected box, and the gaps in its ink from left to right, as x0, x1 of the page. `rulings`: vertical
    lines through it with the white around them, where it is cut in any case."""

    box: Box
    gaps: tuple[Interval, ...] = ()
    rulings: tuple[Interval, ...] = ()

    def fragments(self, cuts: Sequence[Interval]) -> list[Box]:
        """The box without `cuts`, from left to right."""
        x0, y0, x1, y1 = self.box
        starts = [x0, *(right for _, right in cuts)]
        stops = [*(left for left, _ in cuts), x1]
        return [(start, y0, stop, y1) for start, stop in zip(starts, stops, strict=True) if stop > start]


def cut_at_gutters(boxes: Sequence[GappedBox], line_height: float) -> list[list[Box]]:
    """For each box the fragments it falls into, from left to right; most boxes stay whole."""
    pieces = [piece for box in boxes for piece in box.fragments([gap for gap in box.gaps if _counts(gap, box)])]
    result = []
    for box in boxes:
        gutters = [gap for gap in box.gaps if _is_gutter(gap, box.box, pieces, line_height)]
        result.append(box.fragments(sorted({*box.rulings, *gutters})))
    return result


def _counts(gap: Interval, box: GappedBox) -> bool:
    """Whether a gap is wide enough to be part of another line's strip."""
    return gap[1] - gap[0] >= 0.35 * (box.box[3] - box.box[1])


def _is_gutter(gap: Interval, box: Box, pieces: Sequence[Box], line_height: float) -> bool:
    width = (gap[1] - gap[0]) / line_height
    needed = next((num_lines for least, num_lines in _CUTS if width >= least), None)
    if needed == 1:
        return True
    if needed is not None:
        sharing = (_num_sharing(gap, box, pieces, line_height, step) for step in (-1, 1))
        if 1 + sum(sharing) >= needed:
            return True
    return _stands_over_strip(gap, box, pieces, line_height)


def _stands_over_strip(gap: Interval, box: Box, pieces: Sequence[Box], line_height: float) -> bool:
    """Whether what follows the gap starts where the cells of several lines below or above it start."""
    middle, reach = (gap[0] + gap[1]) / 2, _ALIGNED * line_height
    for step in (-1, 1):
        centre, num_lines = (box[1] + box[3]) / 2, 0
        while num_lines < _MIN_ALIGNED_LINES:
            row = _next_row(gap, centre, pieces, line_height, step)
            if any(piece[0] < middle < piece[2] for piece in row):
                break
            if not any(abs(piece[0] - gap[1]) <= reach for piece in row):
                break
            centre, num_lines = sum((piece[1] + piece[3]) / 2 for piece in row) / len(row), num_lines + 1
        if num_lines == _MIN_ALIGNED_LINES:
            return True
    return False


def _has_both_sides(free: Interval, row: Sequence[Box]) -> bool:
    return any(piece[2] <= free[0] for piece in row) and any(piece[0] >= free[1] for piece in row)


def _num_sharing(gap: Interval, box: Box, pieces: Sequence[Box], line_height: float, direction: int) -> int:
    """Lines above (-1) or below (+1) that leave a common part of the gap free, with text on both sides."""
    centre, num_lines = (box[1] + box[3]) / 2, 0
    while num_lines < _CUTS[-1][1]:
        row = _next_row(gap, centre, pieces, line_height, direction)
        free = _largest_free(gap, row)
        if not row or free[1] - free[0] < _CUTS[-1][0] * line_height:
            break
        if not _has_both_sides(free, row):
            break
        num_lines += 1
        gap, centre = free, sum((piece[1] + piece[3]) / 2 for piece in row) / len(row)
    return num_lines


def _next_row(
    gap: Interval, centre: float, pieces: Sequence[Box], line_height: float, direction: int
) -> list[Box]:
    """The nearest pieces beyond `centre` on the way up or down, near the gap."""
    near: list[tuple[float, Box]] = []
    for piece in pieces:
        distance = ((piece[1] + piece[3]) / 2 - centre) * direction
        is_beside = piece[2] > gap[0] - _SIDE * line_height and piece[0] < gap[1] + _SIDE * line_height
        if is_beside and 0.5 * line_height < distance < _REACH * line_height:
            near.append((distance, piece))
    if not near:
        return []
    first = min(distance for distance, _ in near)
    return [piece for distance, piece in near if distance < first + 0.5 * line_height]


def _largest_free(gap: Interval, row: Sequence[Box]) -> Interval:
    edges = [gap[0]]
    best = (gap[0], gap[0])
    for x0, _, x1, _ in sorted(row):
        if x1 <= gap[0] or x0 >= gap[1]:
            continue
        best = max(best, (edges[-1], x0), key=lambda interval: interval[1] - interval[0])
        edges.append(max(edges[-1], x1))
    return max(best, (edges[-1], gap[1]), key=lambda interval: interval[1] - interval[0])
