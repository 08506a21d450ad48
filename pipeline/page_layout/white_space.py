"""White space on a page: strips from top to bottom between columns, and from side to side between rows.

Knows boxes only, and takes its distances in line heights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from quire.page_layout.lines import Interval, Line, free_intervals

MIN_GUTTER = 0.5
"""Narrowest gutter, from ink to ink, in line heights."""
ALIGNED = 0.3
"""Lines of one row have their centres that close, in line heights."""
_SLACK = 0.15  # detected boxes reach that far beyond their ink
_WORD_SPACE = 3.0  # justified text has no wider one


def find_gutters(lines: Sequence[Line], line_height: float) -> list[Interval]:
    """The strips between columns that stand beside one another."""
    strips = free_strips(lines, line_height)
    return [strip for strip in strips if _is_beside_another(lines, (strip[0] + strip[1]) / 2, line_height)]


def free_strips(lines: Sequence[Line], line_height: float) -> list[Interval]:
    """The x-ranges that no box touches, from left to right, where the ink beside them is `MIN_GUTTER` apart."""
    slack = _SLACK * line_height
    spans = ((line.x0 + slack, max(line.x1 - slack, line.x0 + slack)) for line in lines)
    gaps = free_intervals(spans, MIN_GUTTER * line_height)
    return [(left + slack, right - slack) for left, right in gaps]


def _is_beside_another(lines: Sequence[Line], x: float, line_height: float) -> bool:
    """Whether there are columns left and right of `x`: they share a height of the page, and neither is a
    single word that only wide spaces set apart from its line."""
    left = [line for line in lines if line.x0 + line.x1 < 2 * x]
    right = [line for line in lines if line.x0 + line.x1 >= 2 * x]
    top = max(min(line.y0 for line in side) for side in (left, right))
    bottom = min(max(line.y1 for line in side) for side in (left, right))
    if bottom - top <= 0.5 * line_height:
        return False
    fewer, more = sorted((left, right), key=len)
    return len(fewer) > 1 or len(more) == 1 or not _is_on_line(fewer[0], more, line_height)


def _is_on_line(line: Line, others: Sequence[Line], line_height: float) -> bool:
    for other in others:
        distance = max(line.x0 - other.x1, other.x0 - line.x1)
        if abs(other.centre_y - line.centre_y) < ALIGNED * line_height and distance < _WORD_SPACE * line_height:
            return True
    return False


def find_strips(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines between horizontal white strips, from top to bottom."""
    strips: list[list[Line]] = []
    end = -math.inf
    for line in sorted(lines, key=lambda item: item.y0):
        shrink = 0.25 * line.height
        if line.y0 + shrink >= end:
            strips.append([])
        strips[-1].append(line)
        end = max(end, line.y1 - shrink)
    return strips
