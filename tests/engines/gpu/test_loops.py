"""A looping page is noticed soon, an honest one never, however the text arrives in pieces."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.engines.gpu.loops import CHECK_EVERY, FILLER_LOOP, LoopWatch
from quire.parse import FEWEST_REPEATS, LONG_LOOP, LONGEST_UNIT, judge, repeated_tail
from quire.records import Recognition

PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. " * 2 + "Then they struck 14.\n"


def noticed_at(text: str, piece: int = 4) -> int | None:
    """Number of characters after which the watch says that the page loops."""
    watch = LoopWatch()
    for end in range(piece, len(text) + piece, piece):
        if watch.feed(text[end - piece : end]):
            return end
    return None


LOOPS = {
    "a sentence": "The quick brown fox jumps over the lazy dog. ",
    "a letter": "x",
    "a long paragraph": "".join(f"word{i} " for i in range(48)),
    "a grounded block": "<|ref|>text<|/ref|><|det|>[[10, 20, 30, 40]]<|/det|>\nThe same again.\n\n",
    "a table row": "<tr><td>Total</td><td>0</td></tr>",
    "chinese": "合计",
}


@pytest.mark.parametrize("unit", LOOPS.values(), ids=LOOPS)
def test_a_loop_of_words_is_noticed_soon(unit: str) -> None:
    assert len(unit) <= LONGEST_UNIT
    at = noticed_at(PROSE + unit * 12_000)
    assert at is not None
    least = max(LONG_LOOP, FEWEST_REPEATS * len(unit))
    assert least <= at - len(PROSE) + len(unit) and at - len(PROSE) <= least + CHECK_EVERY + 4


@pytest.mark.parametrize(
    "unit",
    [
        "<td></td>", ".", "_ ", "| ", "<tr><td>0</td><td>-</td></tr>", "\n",
        '<td colspan="2"></td>', "<td>&nbsp;</td>", "\\quad ",
    ],
)  # fmt: skip
def test_a_loop_without_a_word_is_given_longer(unit: str) -> None:
    at = noticed_at(PROSE + unit * (2 * FILLER_LOOP))
    assert at is not None
    assert FILLER_LOOP <= at - len(PROSE) + len(unit) <= FILLER_LOOP + CHECK_EVERY + 4 + len(unit)


HONEST = {
    "a table of contents": "".join(f"{n}. Chapter {'.' * 90} {3 * n}\n" for n in range(120)),
    "rows of dots to write on": ("." * 100 + "\n") * 50,
    "an empty form": "<table>" + ("<tr>" + "<td></td>" * 8 + "</tr>") * 60 + "</table>",
    "a table of zeros": "<table>" + ("<tr>" + "<td>0.00</td>" * 6 + "</tr>") * 60 + "</table>",
    "a numbered list": "".join(f"{n}. Name of the member: ________\n" for n in range(400)),
    "a Markdown table": "| a | b |\n|---|---|\n" + "|   |   |\n" * 200,
    "the same word in a column": "<table>" + "<tr><td>open</td></tr>" * 80 + "</table>",
    "a chorus sung five times": ("La la la, said the bird upon the tree, and sang again.\n" * 4 + PROSE) * 5,
    "prose": " ".join(random.Random(0).choices(PROSE.split(), k=3000)),
}


@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_honest_repetition_is_no_loop(text: str, piece: int) -> None:
    assert noticed_at(PROSE + text + PROSE, piece) is None


UNITS = st.text(alphabet="ab <>td/.\n", min_size=1, max_size=60)


@settings(max_examples=200)
@given(st.text(alphabet="abc. ", max_size=300), UNITS, st.integers(1, 9000), st.integers(1, 500))
def test_what_is_noticed_is_a_loop_for_the_finished_text_too(
    start: str, unit: str, length: int, piece: int
) -> None:
    text = start + (unit * length)[:length]
    at = noticed_at(text, piece)
    if at is not None and unit.strip():
        assert repeated_tail(text[:at]) >= LONG_LOOP - len(unit)
        assert judge(Recognition(text[:at], "length")) == "loop"
    if at is None:
        assert length < FILLER_LOOP + CHECK_EVERY + piece


@settings(max_examples=100)
@given(st.text(alphabet="01", min_size=1, max_size=LONGEST_UNIT), st.data())
def test_any_unit_is_found_and_one_flaw_starts_it_anew(unit: str, data: st.DataObject) -> None:
    loop = (unit * 2 * FILLER_LOOP)[: FILLER_LOOP + CHECK_EVERY]
    assert noticed_at("2" + loop, CHECK_EVERY) is not None
    flaw = data.draw(st.integers(CHECK_EVERY + 1, FILLER_LOOP - 1))
    assert noticed_at(loop[:flaw] + "2" + loop[flaw + 1 :], CHECK_EVERY) is None


def test_it_stays_so() -> None:
    watch = LoopWatch()
    assert watch.feed("again and " * 500)
    assert watch.feed("") and watch.feed(PROSE) and watch.is_looping
