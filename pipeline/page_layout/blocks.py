"""Recognised lines of a page into labelled blocks, in reading order.

The steps: text that runs up or down the page is set aside, then headers and footers; the rest goes through
`reading_order.py` into columns and grids, grids become tables, columns paragraphs, and paragraphs get their labels from
size, place and first characters. Pure functions over numbers; all distances are in line heights or shares of the page.
Knows neither the recogniser nor pixels.

What it cannot see, since only boxes come in: bold type, rulings, merged cells, formulas.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from quire.page_layout.lines import Box, Line, bounds, group_rows, typical_height, typical_letter_width
from quire.page_layout.paragraphs import MARKER, Paragraph, split_paragraphs
from quire.page_layout.reading_order import Region, read_in_order
from quire.page_layout.ruled_tables import write_table
from quire.page_layout.white_space import ALIGNED

_MARGIN = 0.09  # of the page: headers and footers stand that close to its edge
_APART = 0.8  # ... and that many line heights from the text
_MAX_MARGIN_ROWS = 2
_HEADING = 1.22  # a heading's letters over the body's
_WIDER = 1.12  # ... and wider by that much, since a superscript makes a line higher too
_TITLE = 1.4
_MAX_HEADING_CHARS = 160
_LONG_LINE = 60  # characters; a header of several rows has shorter ones
_CAPTION = re.compile(
    r"^(?:Fig(?:ure|\.)?|Table|Abb(?:ildung|\.)?|Tab(?:elle|\.)|Figura|Tableau|图|表)\s*\d", re.I
)
_SECTION = re.compile(r"^(?:\d{1,2}(?:\.\d{1,2}){0,3}\.?|[IVX]{1,5}\.|[A-Z]\.)\s+[^\W\d_]\S*(?:\s+\S+){0,9}$")
_BULLET = re.compile(r"^[•·▪◦●○■–—*-]\s+")
_LONE_BULLET = re.compile(r"^[•·▪◦●○■]$")


@dataclass(frozen=True, slots=True)
class Body:
    """The usual letters of a page, in pixels."""

    height: float
    letter_width: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A block before it becomes a record: `box` in pixels of the upright page, its lines in order."""

    label: str
    text: str
    box: Box
    lines: tuple[Line, ...]


def arrange(lines: Sequence[Line], page_height: float) -> list[Piece]:
    """The blocks of a page in reading order; header first, footer and margin stamps last."""
    upright = [line for line in lines if line.is_vertical]
    level = _join_bullets([line for line in lines if not line.is_vertical])
    if len(upright) > len(level):
        return [*_columns_of_vertical_writing(upright), *_arrange_level(level, page_height)]
    within = [line for line in level if any(_is_part_of_stamp(line, stamp) for stamp in upright)]
    level = [line for line in level if not any(line is other for other in within)]
    stamps = sorted([*upright, *within], key=lambda line: (line.x0, line.y0))
    return [*_arrange_level(level, page_height), *(_piece("text", line.text, [line]) for line in stamps)]


def _arrange_level(lines: Sequence[Line], page_height: float) -> list[Piece]:
    if not lines:
        return []
    height = typical_height(lines)
    header, rest, footer = _set_margins_aside(lines, page_height, height)
    body = Body(height, typical_letter_width(lines))
    pieces: list[Piece] = []
    for region in read_in_order(rest, height):
        pieces.extend(_table(region) if region.is_grid else _label(region, body))
    return [*_margin("header", header), *_with_title(_join(pieces)), *_margin("footer", footer)]


def _join_bullets(lines: Sequence[Line]) -> list[Line]:
    """Lines joined with the bullets that were cut off them: these would form a column of their own."""
    joined = [line for line in lines if not _LONE_BULLET.match(line.text)]
    for mark in (line for line in lines if _LONE_BULLET.match(line.text)):
        index = next((index for index, line in enumerate(joined) if _is_bullet_of(mark, line)), None)
        if index is None:
            joined.append(mark)
        else:
            joined[index] = replace(joined[index], text=f"{mark.text} {joined[index].text}", x0=mark.x0)
    return joined


def _is_bullet_of(mark: Line, line: Line) -> bool:
    is_on_line = abs(mark.centre_y - line.centre_y) < ALIGNED * line.height
    return is_on_line and mark.x1 <= line.x0 < mark.x1 + line.height


def _is_part_of_stamp(line: Line, stamp: Line) -> bool:
    """A few letters of text that runs up the page, detected as a level box in line with it."""
    is_short = line.width < 1.5 * stamp.width and stamp.height > 3 * stamp.width
    return is_short and stamp.x0 - 0.3 * stamp.width < line.x0 and line.x1 < stamp.x1 + 0.3 * stamp.width


def _columns_of_vertical_writing(lines: Sequence[Line]) -> Iterator[Piece]:
    """Chinese and Japanese set vertically: columns from right to left."""
    ordered = sorted(lines, key=lambda line: (-(line.x0 + line.x1) / 2, line.y0))
    yield _piece("text", "\n".join(line.text for line in ordered), ordered)


def _set_margins_aside(
    lines: Sequence[Line], page_height: float, height: float
) -> tuple[list[Line], list[Line], list[Line]]:
    rows = group_rows(lines)
    num_top = _num_margin_rows(rows, page_height, height)
    num_bottom = _num_margin_rows(rows[num_top:][::-1], page_height, height)
    stop = len(rows) - num_bottom
    parts = (rows[:num_top], rows[num_top:stop], rows[stop:])
    top, body, bottom = ([line for row in part for line in row] for part in parts)
    return top, body, bottom


def _num_margin_rows(rows: Sequence[Sequence[Line]], page_height: float, height: float) -> int:
    """Rows at the edge of the page that white space separates from the text; `rows` start at that edge."""
    for num_rows in range(1, min(_MAX_MARGIN_ROWS, len(rows) - 1) + 1):
        outer = bounds(line.box for row in rows[:num_rows] for line in row)
        inner = bounds(line.box for line in rows[num_rows])
        is_near_edge = outer[3] < _MARGIN * page_height or outer[1] > (1 - _MARGIN) * page_height
        distance = max(inner[1] - outer[3], outer[1] - inner[3])
        if is_near_edge and distance > _APART * height and not _is_text(rows[:num_rows], height):
            return num_rows
    return 0


def _is_text(rows: Sequence[Sequence[Line]], height: float) -> bool:
    """Whether rows are a title high on its page (big letters and no number), or the end of a paragraph."""
    lines = [line for row in rows for line in row]
    has_digit = any(char.isdigit() for line in lines for char in line.text)
    is_title = not has_digit and any(line.height >= _HEADING * height for line in lines)
    return is_title or (len(rows) > 1 and any(len(line.text) > _LONG_LINE for line in lines))


def _margin(label: str, lines: Sequence[Line]) -> Iterator[Piece]:
    if lines:
        rows = group_rows(lines)
        ordered = [line for row in rows for line in row]
        yield _piece(label, "\n".join(" ".join(line.text for line in row) for row in rows), ordered)


def _table(region: Region) -> Iterator[Piece]:
    yield _piece("table", write_table(region.rows, region.columns), [line for row in region.rows for line in row])


def _label(region: Region, body: Body) -> Iterator[Piece]:
    paragraphs = split_paragraphs(region.rows, region.right)
    for index, paragraph in enumerate(paragraphs):
        following = paragraphs[index + 1] if index + 1 < len(paragraphs) else None
        label = _label_of(paragraph, following, body)
        text = _as_item(paragraph) if label == "list" else paragraph.text
        yield _piece(label, text, [line for row in paragraph.rows for line in row.lines])


def _label_of(paragraph: Paragraph, following: Paragraph | None, body: Body) -> str:
    text = paragraph.text
    if _CAPTION.match(text):
        return "caption"
    is_mild = paragraph.height < _TITLE * body.height
    goes_on = is_mild and following is not None and following.text[:1].islower()
    is_short = not goes_on and len(text) <= _MAX_HEADING_CHARS and len(paragraph.rows) <= 3
    is_big = paragraph.height >= _HEADING * body.height and paragraph.letter_width >= _WIDER * body.letter_width
    if is_short and is_big and not _has_bullet(paragraph) and sum(c.isalpha() for c in text) > 2:
        return "sub_title"
    is_alone = (
        not goes_on and len(paragraph.rows) == 1 and following is not None and not following.rows[0].starts_item
    )
    if is_alone and text[-1:] not in ".,;:" and (_SECTION.match(text) or _is_capitals(text)):
        return "sub_title"
    return "list" if paragraph.rows[0].starts_item else "text"


def _has_bullet(paragraph: Paragraph) -> bool:
    return paragraph.rows[0].lines[0].has_bullet or _BULLET.match(paragraph.text) is not None


def _is_capitals(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return len(letters) > 5 and " " in text and all(char.isupper() for char in letters)


def _as_item(paragraph: Paragraph) -> str:
    text = paragraph.text
    if _BULLET.match(text):
        return "- " + _BULLET.sub("", text)
    return text if MARKER.match(text) else f"- {text}"


def _join(pieces: Sequence[Piece]) -> list[Piece]:
    """Items of one list, and lines of one heading, into one block each."""
    joined: list[Piece] = []
    for piece in pieces:
        above = joined[-1] if joined else None
        if above and above.label == piece.label and (piece.label == "list" or _is_one_heading(above, piece)):
            mark = "\n" if piece.label == "list" else " "
            lines = (*above.lines, *piece.lines)
            joined[-1] = _piece(piece.label, above.text + mark + piece.text, lines)
        else:
            joined.append(piece)
    return [_without_lone_number(piece) for piece in joined]


def _is_one_heading(above: Piece, below: Piece) -> bool:
    sizes = sorted(statistics.median(line.height for line in piece.lines) for piece in (above, below))
    is_near = 0 <= below.box[1] - above.box[3] + 0.5 * sizes[1] < sizes[1]
    return above.label == "sub_title" and is_near and sizes[1] < 1.15 * sizes[0]


def _without_lone_number(piece: Piece) -> Piece:
    """One numbered paragraph alone is no list."""
    is_lone = piece.label == "list" and "\n" not in piece.text and not piece.text.startswith("- ")
    return Piece("text", piece.text, piece.box, piece.lines) if is_lone else piece


def _with_title(pieces: Sequence[Piece]) -> list[Piece]:
    """The biggest heading becomes the title, where it is far bigger than the text and comes before it."""
    headings = [piece for piece in pieces if piece.label == "sub_title"]
    if not headings:
        return list(pieces)
    body = typical_height([line for piece in pieces for line in piece.lines])
    biggest = max(headings, key=_size)
    num_before = sum(len(piece.text) for piece in pieces[: pieces.index(biggest)])
    if _size(biggest) < _TITLE * body or num_before > 400:
        return list(pieces)
    return [_piece("title", piece.text, piece.lines) if piece is biggest else piece for piece in pieces]


def _size(piece: Piece) -> float:
    return statistics.median(line.height for line in piece.lines)


def _piece(label: str, text: str, lines: Sequence[Line]) -> Piece:
    return Piece(label, text, bounds(line.box for line in lines), tuple(lines))
