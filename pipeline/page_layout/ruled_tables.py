"""The rows of a grid into columns and a Markdown table.

`reading_order.py` decides that rows form a grid. Rulings are not seen, so a merged cell appears as the one cell in
which most of its text stands. The distance of lines tells a cell of several lines from several rows.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence

from quire.page_layout.lines import Interval, Line, bounds
from quire.page_layout.white_space import MIN_GUTTER, free_strips

_TIGHT = 0.75  # lines of one cell are that much closer than the table's rows are
_MAX_CROSSING = 2  # rows, such as the header's, that may reach across a gutter ...
_CROSSING_SHARE = 0.2  # ... and the share of all rows that they may be


def table_columns(rows: Sequence[Sequence[Line]], line_height: float) -> list[Interval]:
    """The x-ranges of the columns: between white strips that all rows, but for a few wide cells, leave free.

    A strip no wider than a word space divides the columns of a table that has wider ones, too. Without wider strips,
    the lines are prose whose spaces lie under one another: no table, and no columns.
    """
    lines = [line for row in rows for line in row]
    num_crossing = min(_MAX_CROSSING, int(_CROSSING_SHARE * sum(len(row) > 1 for row in rows)))
    free = free_strips(lines, line_height)
    crossed = [
        strip
        for strip in _thinly_covered(lines, num_crossing)
        if _is_wide(strip, line_height) and _is_between_cells(rows, *strip)
    ]
    if not crossed and not any(_is_wide(strip, line_height) for strip in free):
        return []
    edges = [(left + right) / 2 for left, right in free]
    for left, right in crossed:
        if not any(left <= edge <= right for edge in edges):
            edges.append((left + right) / 2)
    x0, _, x1, _ = bounds(line.box for line in lines)
    return list(itertools.pairwise([x0, *sorted(edges), x1]))


def _is_wide(strip: Interval, line_height: float) -> bool:
    """Whether a strip is wider than a word space."""
    return strip[1] - strip[0] >= MIN_GUTTER * line_height


def write_table(rows: Sequence[Sequence[Line]], columns: Sequence[Interval]) -> str:
    """A Markdown pipe table whose first row is the header; pipes in cells are escaped."""
    written = [_cells(row, columns) for row in _join_wrapped(rows, columns)]
    lines = ["| " + " | ".join(row) + " |" for row in written]
    lines.insert(1, "| " + " | ".join("---" for _ in columns) + " |")
    return "\n".join(lines)


def _thinly_covered(lines: Iterable[Line], num_crossing: int) -> Iterator[Interval]:
    """The inner stretches of x that at most `num_crossing` lines cover."""
    edges = sorted([(line.x0, 1) for line in lines] + [(line.x1, -1) for line in lines])
    depth, start = 0, None
    for x, step in edges:
        depth += step
        if step < 0 and depth <= num_crossing and start is None:
            start = x
        elif step > 0 and depth > num_crossing and start is not None:
            yield (start, x)
            start = None


def _is_between_cells(rows: Sequence[Sequence[Line]], left: float, right: float) -> bool:
    """Whether at least three rows have cells on both sides of a strip."""
    middle = (left + right) / 2
    beside = [any(line.x1 <= middle for line in row) and any(line.x0 >= middle for line in row) for row in rows]
    return sum(beside) >= 3


def _join_wrapped(rows: Sequence[Sequence[Line]], columns: Sequence[Interval]) -> list[list[Line]]:
    """Rows, where a line that stands close below another and starts no first cell belongs to the row above."""
    centres = [statistics.fmean(line.centre_y for line in row) for row in rows]
    pitches = [below - above for above, below in itertools.pairwise(centres)]
    typical = statistics.median(pitches) if pitches else 0.0
    joined = [list(rows[0])]
    for row, pitch in zip(rows[1:], pitches, strict=True):
        has_first_cell = any(_column_of(line, columns) == 0 for line in row)
        if pitch < _TIGHT * typical and not has_first_cell:
            joined[-1].extend(row)
        else:
            joined.append(list(row))
    return joined


def _cells(row: Sequence[Line], columns: Sequence[Interval]) -> list[str]:
    cells: list[list[str]] = [[] for _ in columns]
    for line in row:
        cells[_column_of(line, columns)].append(line.text)
    return [" ".join(cell).replace("\\", "\\\\").replace("|", "\\|") for cell in cells]


def _column_of(line: Line, columns: Sequence[Interval]) -> int:
    overlaps = [min(line.x1, right) - max(line.x0, left) for left, right in columns]
    return overlaps.index(max(overlaps))
