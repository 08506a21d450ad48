"""The rows of a column of running text into paragraphs.

A new paragraph starts after a larger distance, with another size of letters, at a bullet or number, at an indented
first line, or where the line before ends although the next word would have fitted on it. Knows rows and their boxes;
`blocks.py` decides what kind of block a paragraph is.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from quire.page_layout.lines import Box, Line, bounds

MARKER = re.compile(r"^(?:[•·▪◦●○■–—*-]|(?:\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})[.)]))\s+(?=\S)")
"""How a list item starts: a bullet, or a number or letter with a point or parenthesis."""

_WIDE_PITCH = 1.3  # of the column's usual distance between baselines
_OTHER_SIZE = 1.2
_OTHER_LETTERS = 1.12
_INDENT = 0.7  # line heights
_RAGGED = 1.0  # line heights by which a right margin may vary
_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Row:
    """Lines on one baseline, as one text."""

    text: str
    box: Box
    height: float
    lines: tuple[Line, ...]

    @property
    def starts_item(self) -> bool:
        return self.lines[0].has_bullet or MARKER.match(self.text) is not None

    @property
    def letter_width(self) -> float:
        return sum(line.width for line in self.lines) / max(1, sum(len(line.text) for line in self.lines))

    @property
    def centre_y(self) -> float:
        return (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        text = self.rows[0].text
        for row in self.rows[1:]:
            text = join_text(text, row.text)
        return text

    @property
    def box(self) -> Box:
        return bounds(row.box for row in self.rows)

    @property
    def height(self) -> float:
        return statistics.median(row.height for row in self.rows)

    @property
    def letter_width(self) -> float:
        return statistics.median(row.letter_width for row in self.rows)


def split_paragraphs(rows: Sequence[Sequence[Line]], right: float) -> list[Paragraph]:
    """Paragraphs of one column, from top to bottom. `rows`: its lines, row by row; `right`: its edge."""
    if not rows:
        return []
    made = [_row(row) for row in rows]
    pitch = _usual_pitch(made)
    groups = [[made[0]]]
    for index in range(1, len(made)):
        following = made[index + 1] if index + 1 < len(made) else None
        if _starts_paragraph(groups[-1], made[index], following, pitch, right):
            groups.append([])
        groups[-1].append(made[index])
    return [Paragraph(tuple(group)) for group in groups]


def join_text(first: str, second: str) -> str:
    """Two lines of one paragraph as one text: without the hyphen of a broken word, and without a space where
    the script has none."""
    if re.search(r"[^\W\d_]-$", first) and second[:1].islower():
        return first[:-1] + second
    if first and second and _CJK.match(first[-1]) and _CJK.match(second[0]):
        return first + second
    return f"{first} {second}"


def _row(lines: Sequence[Line]) -> Row:
    text = lines[0].text
    for line in lines[1:]:
        text = f"{text} {line.text}"
    box = bounds(line.box for line in lines)
    return Row(text, box, max(line.height for line in lines), tuple(lines))


def _usual_pitch(rows: Sequence[Row]) -> float:
    pitches = [below.centre_y - above.centre_y for above, below in itertools.pairwise(rows)]
    height = statistics.median(row.height for row in rows)
    tight = [pitch for pitch in pitches if pitch < 2 * height]
    return statistics.median_low(tight) if tight else 1.4 * height


def _starts_paragraph(group: Sequence[Row], row: Row, following: Row | None, pitch: float, right: float) -> bool:
    above = group[-1]
    if row.starts_item or row.centre_y - above.centre_y > _WIDE_PITCH * pitch:
        return True
    if _is_indented(group, row, following):
        return True
    goes_on = row.text[:1].islower() and above.text[-1:] not in ".:!?"
    return not goes_on and (_has_other_size(row, above) or _was_left_early(above, row, right))


def _has_other_size(row: Row, above: Row) -> bool:
    """Both height and width of the letters differ; the height alone may come from a superscript."""
    sizes = sorted((row.height, above.height))
    letters = sorted((row.letter_width, above.letter_width))
    is_long = min(len(row.text), len(above.text)) > 3
    return is_long and sizes[1] > _OTHER_SIZE * sizes[0] and letters[1] > _OTHER_LETTERS * letters[0]


def _is_indented(group: Sequence[Row], row: Row, following: Row | None) -> bool:
    """A first line further right than the lines around it; a hanging indent stays within its item."""
    step = _INDENT * row.height
    if row.box[0] < group[-1].box[0] + step or group[0].starts_item:
        return False
    return len(group) > 1 or following is None or following.box[0] < row.box[0] - step


def _was_left_early(above: Row, row: Row, right: float) -> bool:
    word = row.text.split(" ", 1)[0]
    needed = row.letter_width * (len(word) + 1) + _RAGGED * row.height
    return not above.text.endswith("-") and above.box[2] + needed < right
