"""Recognised lines as numbers: the input of the layout rules.

Coordinates are pixels of the upright page, origin at the top left. Nothing here knows the recogniser or the
page's resolution: every rule that needs a distance takes it in line heights (`typical_height`).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of text on one baseline. `score` is the recogniser's mean character probability, 0–1.
    `has_bullet`: a mark that the recogniser does not report stands before the text. `is_vertical`: the
    text runs up or down the page."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    score: float = 1.0
    has_bullet: bool = False
    is_vertical: bool = False

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def centre_y(self) -> float:
        return (self.y0 + self.y1) / 2

    @property
    def box(self) -> Box:
        return (self.x0, self.y0, self.x1, self.y1)


def typical_height(lines: Sequence[Line]) -> float:
    """Median height of the horizontal lines, weighted by their characters so that body text decides."""
    heights = [line.height for line in lines if not line.is_vertical for _ in range(max(1, len(line.text)))]
    return max(1.0, statistics.median(heights)) if heights else 1.0


def typical_letter_width(lines: Sequence[Line]) -> float:
    """Median width of a character, weighted like `typical_height`."""
    widths = [line.width / len(line.text) for line in lines for _ in line.text if not line.is_vertical]
    return statistics.median(widths) if widths else 1.0


def bounds(boxes: Iterable[Box]) -> Box:
    """The smallest box around at least one box."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))


def free_intervals(occupied: Iterable[Interval], min_width: float) -> list[Interval]:
    """The gaps of at least `min_width` between intervals, in order; what lies outside them is no gap."""
    gaps: list[Interval] = []
    end: float | None = None
    for start, stop in sorted(occupied):
        if end is not None and start - end >= min_width:
            gaps.append((end, start))
        end = stop if end is None else max(end, stop)
    return gaps


def group_rows(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines on a common baseline, rows from top to bottom, each from left to right.

    Two lines share a row when the centre of one lies in the middle half of the other.
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda item: item.centre_y):
        if rows and _shares_row(rows[-1], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda item: item.x0) for row in rows]


def _shares_row(row: Sequence[Line], line: Line) -> bool:
    centre = statistics.fmean(item.centre_y for item in row)
    smaller = min(line.height, min(item.height for item in row))
    overlaps = any(min(item.x1, line.x1) - max(item.x0, line.x0) > smaller for item in row)
    return not overlaps and abs(line.centre_y - centre) <= 0.4 * smaller
