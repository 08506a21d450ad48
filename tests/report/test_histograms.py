"""Histograms and the timeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quire.report.histograms import Histogram, Timeline

_START = datetime(2026, 1, 1, tzinfo=UTC)


def test_values_fall_between_their_edges_and_outliers_beside_them() -> None:
    histogram = Histogram([0, 1, 2, 4])
    for value in (0.0, 0.99, 1.0, 2.0, 3.9, -5.0, 4.0, 100.0):
        histogram.add(value)
    assert histogram.counts == [3, 1, 4]
    assert histogram.mean == sum((0.0, 0.99, 1.0, 2.0, 3.9, -5.0, 4.0, 100.0)) / 8


def test_empty_bins_are_left_out_but_for_one_at_each_end() -> None:
    histogram = Histogram(range(10))
    histogram.add(3.5)
    histogram.add(5.5)
    assert histogram.filled() == ((2, 3, 4, 5, 6, 7), [0, 1, 0, 1, 0])


def test_the_outermost_bins_have_none_beyond_them() -> None:
    histogram = Histogram([0, 1, 2])
    histogram.add(0)
    histogram.add(2)
    assert histogram.filled() == ((0, 1, 2), [1, 1])


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=200), st.integers(2, 40))
def test_a_timeline_never_loses_a_page_and_never_has_too_many_bins(offsets_s: list[int], max_bins: int) -> None:
    timeline = Timeline(max_bins)
    for number, offset in enumerate(offsets_s):
        timeline.add(_START + timedelta(seconds=offset), f"host{number % 3}")
    rates = timeline.rates(timeline.hosts)
    assert len(rates) <= max_bins
    assert round(sum(rates) * timeline.bin_s) == len(offsets_s) == timeline.num_pages
    edges = timeline.edges()
    assert len(edges) == len(rates) + 1
    first, last = (
        np.datetime64(int((_START + timedelta(seconds=f(offsets_s))).timestamp()), "s") for f in (min, max)
    )
    assert edges[0] <= first < edges[1]
    assert edges[-2] <= last < edges[-1]


def test_hosts_come_by_how_much_they_did() -> None:
    timeline = Timeline()
    for host in ("a", "b", "b"):
        timeline.add(_START, host)
    assert timeline.hosts == ["b", "a"]
    assert timeline.rates(["b"]) == [2.0]
