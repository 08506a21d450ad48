"""Which of the recognised lines are believed, by their scores and shapes."""

from __future__ import annotations

import pytest

from quire.engines.cpu.rapidocr_worker import _is_legible, _mean_score
from quire.page_layout.lines import Line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (Line("3", 251, 330, 269, 376), True),
        (Line("1", 251, 330, 262, 376), True),
        (Line("I", 251, 330, 260, 376), True),
        (Line("harbour", 251, 330, 380, 370), True),
        (Line("港口", 251, 330, 340, 370), True),
        (Line("cm", 251, 330, 290, 400, is_vertical=True), True),
        (Line("h", 251, 330, 380, 370), False),  # one letter is all that is known of a word
        (Line("l", 251, 330, 254, 700, is_vertical=True), False),  # a ruling
        (Line("", 251, 330, 269, 376), False),
        (Line("3", 251, 330, 269, 376, score=0.4), False),
    ],
)
def test_what_is_legible(line: Line, expected: bool) -> None:
    assert _is_legible(line) == expected


def test_a_narrow_character_weighs_no_more_than_a_wide_one() -> None:
    narrow, wide = Line("|", 0, 0, 8, 40, score=0.2), Line("W", 100, 0, 140, 40, score=1.0)
    assert _mean_score([narrow, wide]) == pytest.approx(0.6)
