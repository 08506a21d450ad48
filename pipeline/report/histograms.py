"""Counting a stream of numbers into bins, in memory that does not grow with it. Does not draw."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray


class Histogram:
    """How many values lie between each edge (included) and the next. Values beyond the first or last edge count in the
    nearest bin."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = tuple(edges)
        self.counts = [0] * (len(edges) - 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self.counts[min(max(bisect_right(self.edges, value) - 1, 0), len(self.counts) - 1)] += 1
        self._sum += value

    @property
    def num_values(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """The exact mean of the values; 0 without any."""
        return self._sum / self.num_values if self.num_values else 0.0

    def filled(self) -> tuple[Sequence[float], Sequence[int]]:
        """Edges and counts of the bins that have values, and one more at both ends. There must be a value."""
        used = [position for position, count in enumerate(self.counts) if count]
        first, last = max(0, used[0] - 1), min(len(self.counts) - 1, used[-1] + 1)
        return self.edges[first : last + 2], self.counts[first : last + 1]


class Timeline:
    """Pages finished over time, by host, in at most `max_bins` bins: their width, one second at first, doubles
    whenever there would be more."""

    def __init__(self, max_bins: int = 240) -> None:
        self._max_bins = max_bins
        self._counts: Counter[tuple[int, str]] = Counter()
        self._first = self._last = 0
        self.bin_s = 1

    def add(self, moment: datetime, host: str) -> None:
        position = int(moment.timestamp() // self.bin_s)
        self._first = min(self._first, position) if self._counts else position
        self._last = max(self._last, position) if self._counts else position
        self._counts[position, host] += 1
        while self._last - self._first >= self._max_bins:
            self._widen()

    @property
    def num_pages(self) -> int:
        return self._counts.total()

    @property
    def hosts(self) -> list[str]:
        """The busiest first."""
        pages: Counter[str] = Counter()
        for (_, host), count in self._counts.items():
            pages[host] += count
        return [host for host, _ in pages.most_common()]

    def edges(self) -> NDArray[np.datetime64]:
        """Where bins begin and, last, where the last one ends; UTC."""
        return (np.arange(self._first, self._last + 2) * self.bin_s).astype("datetime64[s]")

    def rates(self, hosts: Sequence[str]) -> list[float]:
        """Pages a second that these hosts finished together, for each bin."""
        positions = range(self._first, self._last + 1)
        return [sum(self._counts[position, host] for host in hosts) / self.bin_s for position in positions]

    def _widen(self) -> None:
        counts: Counter[tuple[int, str]] = Counter()
        for (position, host), count in self._counts.items():
            counts[position // 2, host] += count
        self._counts, self.bin_s = counts, self.bin_s * 2
        self._first, self._last = self._first // 2, self._last // 2
