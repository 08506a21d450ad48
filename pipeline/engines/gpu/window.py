"""How many pages an engine wants in flight, from what the engine says of itself.

Grows while nothing waits and the cache of keys and values has room; shrinks when requests are preempted (their
work is thrown away) or wait for more than the queue that keeps the engine fed. Bounded by bytes, too: pages that
wait hold their pixels.

Pure arithmetic over gauges: knows no engine, and no clock, so that it can be tested step by step.
"""

from __future__ import annotations

STEPS_BETWEEN_CHANGES = 32
"""Engine steps from one change to the next: a change shows in the gauges only after its pages are prefilled."""

_CACHE_IS_ROOMY = 0.85  # share in use below which more pages may come; the pages at hand still grow
_CACHE_IS_FULL = 0.97
_GROWTH, _SHRINKAGE = 1.125, 0.875


class Window:
    """`most` is the engine's number of sequences. `size` is the window; it starts at a quarter of the most."""

    def __init__(self, most: int, max_bytes: int) -> None:
        self._most = most + max(1, most // 8)  # a few wait, so that none of the engine's places is empty
        self._max_bytes = max_bytes
        self._wanted = max(1.0, self._most / 4)
        self._bytes_per_page = 0.0
        self._steps = 0
        self._preempted = 0
        self._peak_in_flight = 0

    @property
    def size(self) -> int:
        limit = int(self._max_bytes / self._bytes_per_page) if self._bytes_per_page else self._most
        return max(1, min(int(self._wanted), self._most, limit))

    def see_page(self, num_bytes: int) -> None:
        """A page of this size came in: the mean of the recent ones decides how many fit into `max_bytes`."""
        old = self._bytes_per_page or num_bytes
        self._bytes_per_page = old + (num_bytes - old) / 16

    def see_step(self, num_running: int, num_waiting: int, cache_use: float, num_preempted: int) -> None:
        """The gauges after one step of the engine. `cache_use` is a share, 0–1."""
        self._steps += 1
        self._preempted += num_preempted
        self._peak_in_flight = max(self._peak_in_flight, num_running + num_waiting)
        if self._steps < STEPS_BETWEEN_CHANGES:
            return
        is_overfull = num_waiting > max(2, num_running // 8) and cache_use > _CACHE_IS_FULL
        is_used = self._peak_in_flight >= self.size  # an engine that lacks pages says nothing about its limits
        if self._preempted or is_overfull:
            self._wanted = max(1.0, min(self._wanted, num_running + num_waiting) * _SHRINKAGE)
        elif is_used and num_waiting == 0 and cache_use < _CACHE_IS_ROOMY:
            self._wanted = min(float(self._most), self._wanted * _GROWTH + 1)
        self._steps = self._preempted = self._peak_in_flight = 0
