"""Watches a flow from outside: what passes into and out of rasterizer and engine, and which waits for the other.

`FlowMeter` belongs to one process that converts shards: it reports gauges and histograms, and takes the sums from which
the bottleneck is found. `RunMeter` belongs to the run: it reports counters and the verdict. The stages know neither: a
meter acts as a rasterizer and an engine that pass everything on to the real ones.

Does not know where reports go.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Generic

from quire.conversion.admission import Admission
from quire.engines.pool import EnginePool
from quire.meters import metrics
from quire.meters.bottleneck import Bound, FlowSums, Machinery, Verdict, find_bottleneck
from quire.meters.metrics import Report, Tally
from quire.rasterize.base import Rasterizer
from quire.rasterize.held_image import HeldImage, Hold, Rasterized
from quire.records import ImageT, PageRange, RasterizedPage, Recognition, Request

TICK_S = 0.25
"""Between two looks at the gauges: short beside a page's time in an engine, long beside the cost of a look."""


class FlowMeter(Generic[ImageT]):
    """Fulfils the rasterizer's and the engine's contracts by passing on, and measures on the way.

    The sums leave out starting up, which does not bound a run: they begin when the first page comes out, without the
    rasterizing of pages requested before.
    """

    def __init__(self, rasterizer: Rasterizer[ImageT], pool: EnginePool[ImageT], report: Report) -> None:
        self._rasterizer = rasterizer
        self._pool = pool
        self._report = report
        self._num_rasterizing = 0
        self._num_reading = 0  # in the pool: in a slot or waiting for one
        self._num_deaths = 0
        self._has_begun = False
        self.sums = FlowSums()

    # --- between the flow and its parts

    @property
    def window(self) -> int:
        return self._pool.window

    async def recognize(self, page: HeldImage[ImageT], request: Request) -> Recognition:
        started = time.perf_counter()
        self._num_reading += 1
        try:
            return await self._pool.recognize(page, request)
        finally:
            self._num_reading -= 1
            rung = metrics.rung(request.mode, request.temperature)
            self._report(metrics.RECOGNIZE_SECONDS, time.perf_counter() - started, rung)

    async def rasterize(
        self, source: PageRange, page_indices: Sequence[int], mode: str, hold: Hold[ImageT]
    ) -> AsyncIterator[Rasterized[ImageT]]:
        num_left, is_late = len(page_indices), self._has_begun
        self._num_rasterizing += num_left
        try:
            async for page, image in self._rasterizer.rasterize(source, page_indices, mode, hold):
                num_left -= 1
                self._num_rasterizing -= 1
                self._has_begun = True
                self._see_rasterized(page, is_late)
                yield page, image
        finally:
            self._num_rasterizing -= num_left

    def awaited(self) -> str:
        """What the first page waits for, in words."""
        if not self._has_begun:
            return "fetching and rendering the first pages"
        return "reading the first pages" if self._pool.num_alive else "starting the engine"

    def see_outcome(self) -> None:
        """A page has its outcome."""
        self.sums += FlowSums(num_pages=1)

    def _see_rasterized(self, page: RasterizedPage, is_late: bool) -> None:
        if is_late:
            self.sums += FlowSums(fetch_s=page.fetch_s, queue_s=page.queue_s, render_s=page.seconds)
        if page.fetch_s:
            self._report(metrics.FETCH_SECONDS, page.fetch_s)
        self._report(metrics.RENDER_QUEUE_SECONDS, page.queue_s)
        self._report(metrics.RENDER_SECONDS, page.seconds)

    # --- now and then

    def look(self, admission: Admission, seconds: float) -> None:
        """Report the gauges, and add their values times `seconds` to the sums."""
        num_slots, num_busy = self._pool.num_slots, self._pool.num_busy
        num_waiting = max(0, self._num_reading - num_busy)
        if self._has_begun and (self._num_reading or self._num_rasterizing):
            num_free = max(0, num_slots - num_busy - num_waiting) if self._num_rasterizing else 0
            is_throttled = admission.num_waiting > 0 and self._num_reading + self._num_rasterizing < num_slots
            self.sums += FlowSums(
                engine_s=self._pool.num_alive * seconds,
                slot_s=num_slots * seconds,
                busy_s=min(num_busy, num_slots) * seconds,
                starved_s=num_free * seconds,
                throttled_s=num_free * seconds if is_throttled else 0.0,
            )
        self._report(metrics.ENGINES, self._pool.num_alive)
        self._report(metrics.SLOTS, num_slots)
        self._report(metrics.SLOTS_BUSY, num_busy)
        self._report(metrics.PAGES_WAITING, num_waiting)
        self._report(metrics.PAGES_RASTERIZING, self._num_rasterizing)
        self._report(metrics.BYTES_IN_FLIGHT, admission.num_bytes)
        self._report(metrics.BYTES_IN_FLIGHT_LIMIT, admission.max_bytes)
        if self._pool.num_deaths > self._num_deaths:
            self._report(metrics.ENGINE_DEATHS, self._pool.num_deaths - self._num_deaths)
            self._num_deaths = self._pool.num_deaths


async def every_tick(look: Callable[[float], object]) -> None:
    """Call `look` with the seconds since the last time, until cancelled."""
    then = time.perf_counter()
    while True:
        await asyncio.sleep(TICK_S)
        now = time.perf_counter()
        look(now - then)
        then = now


class RunMeter:
    """Reports what all processes of a run have done together, and judges it."""

    def __init__(self, machinery: Machinery, report: Report) -> None:
        self._machinery = machinery
        self._report = report
        self._reported: Tally = Counter()

    def update(self, counts: Tally, sums: Iterable[FlowSums]) -> Verdict | None:
        """`counts`: of the whole run so far. They decrease when a process is lost; what is then repeated is not counted
        again."""
        for key, number in counts.items():
            if number > self._reported[key]:
                self._report(key[0], number - self._reported[key], *key[1:])
                self._reported[key] = number
        verdict = find_bottleneck(sum(sums, FlowSums()), self._machinery)
        if verdict is not None:
            self._report_verdict(verdict)
        return verdict

    def _report_verdict(self, verdict: Verdict) -> None:
        for bound in Bound:
            self._report(metrics.BOUND, float(verdict.bound is bound), bound.value)
        self._report(metrics.CPUS_PER_ENGINE, verdict.cpus, "now")
        if verdict.cpus_wanted is not None:
            self._report(metrics.CPUS_PER_ENGINE, verdict.cpus_wanted, "wanted")
