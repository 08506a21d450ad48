"""Choosing the slowest and the worst pages from a stream."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from quire.records import Outcome, PageRange
from quire.report.notable import NotablePage, Topmost, badness

_SOURCE = PageRange("s3://b/a.pdf", "", 1, "0" * 64, "application/pdf", 9, 0, 9)


def _page(number: int) -> NotablePage:
    return NotablePage(_SOURCE, "shard", number, Outcome.OCR)


@given(st.lists(st.integers(0, 20)), st.integers(1, 10))
def test_the_topmost_are_those_that_sorting_would_give(ranks: list[int], limit: int) -> None:
    topmost, num_made = Topmost(limit), 0

    def make(number: int) -> NotablePage:
        nonlocal num_made
        num_made += 1
        return _page(number)

    for number, rank in enumerate(ranks):
        topmost.offer((rank,), lambda number=number: make(number))  # type: ignore[misc]
    wanted = sorted(range(len(ranks)), key=lambda number: (-ranks[number], number))[:limit]
    assert [page.page_index for page in topmost.pages()] == wanted


def test_a_page_that_does_not_make_it_is_not_even_made() -> None:
    topmost = Topmost(2)
    for number in range(100):
        topmost.offer((-number,), lambda number=number: _page(number))  # type: ignore[misc]

    def refuse() -> NotablePage:
        raise AssertionError("nobody wants this page")

    topmost.offer((-1000.0,), refuse)
    assert [page.page_index for page in topmost.pages()] == [0, 1]


def test_failed_is_worse_than_doubtful_is_worse_than_tried_again_is_worse_than_unsure() -> None:
    worst_first = [
        badness(Outcome.FAILED, 0, 2, -3.0),
        badness(Outcome.FAILED, 0, 2, -0.5),
        badness(Outcome.FAILED, 0, 0, None),
        badness(Outcome.OCR, 1, 1, -0.1),
        badness(Outcome.BLANK, 1, 0, None),
        badness(Outcome.OCR, 0, 2, -1.0),
        badness(Outcome.OCR, 0, 3, -0.1),
        badness(Outcome.OCR, 0, 1, -9.0),
        badness(Outcome.OCR, 0, 1, -0.01),
    ]
    assert worst_first == sorted((rank or (-math.inf,) for rank in worst_first), reverse=True)


def test_nothing_is_to_be_said_against_a_page_read_at_once_by_an_engine_without_probabilities() -> None:
    assert badness(Outcome.OCR, 0, 1, None) is None
    assert badness(Outcome.BLANK, 0, 0, None) is None
