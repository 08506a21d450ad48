"""Lines of a page into columns and grids, in the order in which a person reads them.

A recursive XY-cut: a white strip from top to bottom separates columns, which are read one after the other; a
page that has none is taken apart into horizontal strips, and neighbouring strips that leave the same gutters
free belong together. Where the cells beside a gutter are short and stand on common baselines it separates
the columns of a table, and rows are read across instead.

Knows boxes only: neither what the text says (`blocks.py`) nor how a table is written (`ruled_tables.py`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from quire.page_layout.lines import Interval, Line, bounds, group_rows
from quire.page_layout.ruled_tables import table_columns
from quire.page_layout.white_space import ALIGNED, MIN_GUTTER, find_gutters, find_strips

_PROSE_WIDTH = 9.0  # all distances in line heights; lines of running text are at least that wide
_PROSE_FILL = 0.55  # ... and fill that share of their column
_MIN_GRID_ROWS = 3
_MAX_DISTANCE = 2.5  # strips further apart are separate, whatever gutters they share
_MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Region:
    """Rows of lines read across, top to bottom. `columns`: the x-ranges of a table's columns, empty for
    running text. `right`: where the column of running text ends, which its own lines may not reach."""

    rows: tuple[tuple[Line, ...], ...]
    columns: tuple[Interval, ...] = ()
    right: float = 0.0

    @property
    def is_grid(self) -> bool:
        return bool(self.columns)


def read_in_order(lines: Sequence[Line], line_height: float) -> list[Region]:
    """The regions of a page in reading order; every line is in exactly one."""
    return _merge_neighbours(list(_cut(list(lines), line_height, 0, _right(lines))))


def _cut(lines: list[Line], line_height: float, depth: int, right: float) -> Iterator[Region]:
    if not lines:
        return
    if len(lines) == 1 or depth > _MAX_DEPTH:
        yield _running(lines, right)
        return
    gutters = find_gutters(lines, line_height)
    if gutters:
        yield from _beside(lines, gutters, line_height, depth, right)
    else:
        yield from _stacked(lines, line_height, depth, right)


def _beside(
    lines: list[Line], gutters: list[Interval], line_height: float, depth: int, right: float
) -> Iterator[Region]:
    """Columns one after the other, or the rows of a table."""
    columns = _split(lines, [(left + right) / 2 for left, right in gutters])
    if not _is_tabular(columns, line_height):
        for column in columns:
            yield from _cut(column, line_height, depth + 1, _right(column))
        return
    rows = group_rows(lines)
    if sum(len(row) > 1 for row in rows) < _MIN_GRID_ROWS:
        yield _running(lines, right)
        return
    num_rows = len(rows)
    while len(rows[num_rows - 1]) == 1 and any(rows[num_rows - 1][0] is line for line in columns[0]):
        num_rows -= 1  # the heading of what follows
    kept = rows[:num_rows]
    ranges = table_columns(kept, line_height)
    if not ranges:
        yield _running(lines, right)
        return
    yield Region(tuple(tuple(row) for row in kept), tuple(ranges))
    yield from _cut([line for row in rows[num_rows:] for line in row], line_height, depth + 1, right)


def _split(lines: Sequence[Line], edges: Sequence[float]) -> list[list[Line]]:
    columns: list[list[Line]] = [[] for _ in range(len(edges) + 1)]
    for line in lines:
        centre = (line.x0 + line.x1) / 2
        columns[sum(edge < centre for edge in edges)].append(line)
    return [column for column in columns if column]


def _is_tabular(columns: Sequence[Sequence[Line]], line_height: float) -> bool:
    """Whether rows should be read across: little running text, and common baselines."""
    num_prose = sum(_is_prose(column, line_height) for column in columns)
    if num_prose > max(1, len(columns) // 2):  # names and descriptions in a wide table look like prose
        return False
    in_rows = [
        len({_column_of(line, columns) for line in row}) > 1
        for row in _baselines(columns, line_height)
        for _ in row
    ]
    return sum(in_rows) >= 0.6 * len(in_rows)


def _baselines(columns: Sequence[Sequence[Line]], line_height: float) -> list[list[Line]]:
    rows: list[list[Line]] = []
    for line in sorted((line for column in columns for line in column), key=lambda item: item.centre_y):
        if rows and line.centre_y - rows[-1][0].centre_y <= ALIGNED * line_height:
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def _column_of(line: Line, columns: Sequence[Sequence[Line]]) -> int:
    return next(index for index, column in enumerate(columns) if any(item is line for item in column))


def _is_prose(column: Sequence[Line], line_height: float) -> bool:
    rows = group_rows(column)
    if len(rows) < 3:
        return False
    widths = [row[-1].x1 - row[0].x0 for row in rows]
    box = bounds(line.box for line in column)
    typical = statistics.median(widths)
    return typical >= _PROSE_WIDTH * line_height and typical >= _PROSE_FILL * (box[2] - box[0])


def _stacked(lines: list[Line], line_height: float, depth: int, right: float) -> Iterator[Region]:
    """Horizontal strips, those with common gutters together; what has no gutter is running text."""
    strips = find_strips(lines)
    if len(strips) == 1:
        yield from _around_crossing(lines, line_height, depth, right)
        return
    for run in _runs(strips, line_height):
        inside = [line for strip in run for line in strip]
        if len(run) == 1 and len(group_rows(inside)) == 1:
            yield _running(inside, right)
        else:
            lead, body = _lead(run, line_height)
            if lead:
                yield _running(lead, right)
            yield from _cut(body, line_height, depth + 1, right)


def _runs(strips: Sequence[list[Line]], line_height: float) -> list[list[list[Line]]]:
    """Neighbouring strips whose union keeps (nearly all of) their gutters."""
    runs: list[list[list[Line]]] = []
    inside: list[Line] = []
    most = 0  # gutters that the run has had; it must not lose them one by one
    for strip in strips:
        if runs and _belongs(strip, inside, most if len(runs[-1]) > 1 else min(most, 1), line_height):
            runs[-1].append(strip)
            inside = [*inside, *strip]
            most = max(most, len(find_gutters(inside, line_height)))
        else:
            runs.append([strip])
            inside, most = list(strip), len(find_gutters(strip, line_height))
    return runs


def _belongs(strip: list[Line], inside: list[Line], num_before: int, line_height: float) -> bool:
    """Whether a strip goes on with the columns above it. A single row's gaps may be chance and rule nothing out."""
    num_alone = len(find_gutters(strip, line_height))
    num_joined = len(find_gutters([*inside, *strip], line_height))
    if not num_before and not num_alone and not num_joined:
        return True
    distance = min(line.y0 for line in strip) - max(line.y1 for line in inside)
    if distance > _MAX_DISTANCE * line_height or not num_joined:
        return False
    if len(strip) == 1:
        return num_joined >= num_before
    expected = max(1, num_before, num_alone if len(group_rows(strip)) > 2 else 1)
    return num_joined >= math.ceil(0.7 * expected)


def _lead(run: Sequence[list[Line]], line_height: float) -> tuple[list[Line], list[Line]]:
    """Single lines at the top of a run that stand in its first column: a heading, or the end of a paragraph above. They
    are read first in any case, and do not belong in a table."""
    lines = [line for strip in run for line in strip]
    gutters = find_gutters(lines, line_height)
    num_lead = 0
    for strip in run:
        if len(strip) > 1 or not gutters or strip[0].x0 > gutters[0][0]:
            break
        num_lead += 1
    if num_lead == len(run):
        num_lead = 0
    lead = [line for strip in run[:num_lead] for line in strip]
    return lead, [line for strip in run[num_lead:] for line in strip]


def _around_crossing(lines: list[Line], line_height: float, depth: int, right: float) -> Iterator[Region]:
    """Two columns that a few lines bridge: what is above such a line, the line, what is below it."""
    crossing = _crossing_lines(lines, line_height)
    if not crossing:
        yield _running(lines, right)
        return
    rest = [line for line in lines if not any(line is other for other in crossing)]
    for line in crossing:
        above = [other for other in rest if other.centre_y < line.centre_y]
        rest = [other for other in rest if other.centre_y >= line.centre_y]
        yield from _cut(above, line_height, depth + 1, right)
        yield _running([line], right)
    yield from _cut(rest, line_height, depth + 1, right)


def _crossing_lines(lines: Sequence[Line], line_height: float) -> list[Line]:
    """The fewest lines, at most a tenth, without which there would be a gutter; from top to bottom."""
    candidates = sorted({line.x1 + MIN_GUTTER * line_height / 2 for line in lines})
    best: list[Line] = []
    for x in candidates:
        crossing = [line for line in lines if line.x0 < x < line.x1]
        left = sum(line.x1 <= x for line in lines)
        right = len(lines) - left - len(crossing)
        if crossing and min(left, right) >= 3 and len(crossing) <= 0.1 * len(lines):
            rest = [line for line in lines if not line.x0 < x < line.x1]
            if find_gutters(rest, line_height) and (not best or len(crossing) < len(best)):
                best = crossing
    return sorted(best, key=lambda line: line.centre_y)


def _running(lines: Sequence[Line], right: float) -> Region:
    return Region(tuple(tuple(row) for row in group_rows(lines)), right=right)


def _right(lines: Sequence[Line]) -> float:
    return max((line.x1 for line in lines), default=0.0)


def _merge_neighbours(regions: Sequence[Region]) -> list[Region]:
    """Join running text that only the cutting took apart: what follows directly below, in the same column."""
    merged: list[Region] = []
    for region in regions:
        if merged and not region.is_grid and not merged[-1].is_grid and _continues(merged[-1], region):
            merged[-1] = Region((*merged[-1].rows, *region.rows), right=max(merged[-1].right, region.right))
        else:
            merged.append(region)
    return merged


def _continues(above: Region, below: Region) -> bool:
    box = bounds(line.box for row in above.rows for line in row)
    other = bounds(line.box for row in below.rows for line in row)
    height = statistics.median(line.height for row in (*above.rows, *below.rows) for line in row)
    widths = sorted((box[2] - box[0], other[2] - other[0]))
    is_below = -0.5 * height < other[1] - box[3] < 3 * height
    is_flush = abs(other[0] - box[0]) < 2 * height
    return is_below and is_flush and (len(below.rows) == 1 or widths[0] > 0.7 * widths[1])
