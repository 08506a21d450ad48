"""What bounds a run: the store, rasterization or the engines, and how many CPUs an engine could use.

Pure arithmetic over a few sums that `flow_meter.py` takes while there is work. Knows neither clock nor machine.

If the slots are always busy, the engines bound the run. Otherwise slots were starved: free, with no page ready for
them, while pages were on their way. If the pages on their way were mostly fewer than the slots, while others waited for
room, the bytes in flight bound the run. Otherwise pages came too late. If rasterizers then spent more time waiting for
documents' bytes than rendering and queueing for a renderer, the store bounds the run; if not, rasterization does.

The CPUs that an engine could use:

    full rate      = pages / engine seconds / share of slots busy     pages/s of an engine whose slots are all busy
    CPUs to render = full rate x renderer seconds a page / 0.8        0.8: room for slow pages
    CPUs wanted    = CPUs of the engine itself + CPUs to render

Rendering computes all the time, so its seconds are CPU seconds, unless other work loads the machine. An engine with
half its slots busy is assumed to be able to read twice as fast. A GPU gains less from the last slots than from the
first, so the CPUs wanted are an upper bound when slots were starved.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Literal

_ENGINES_ARE_BUSY = 0.9  # share of slots; the rest is lost to starting up and slow pages
_ROOM_FOR_SLOW_PAGES = 0.8
_NOT_WORTH_A_CHANGE = 0.2
_SECONDS_A_DAY = 86400


class Bound(StrEnum):
    ENGINE = "engine"
    RASTERIZATION = "rasterization"
    STORE = "s3"
    FLOW = "flow"  # the bytes in flight that the settings allow


@dataclass(frozen=True, slots=True)
class FlowSums:
    """Sums of one process while it had pages in flight; those of several processes may be added.

    `engine_s`: engines ready x seconds. `slot_s`: slots of ready engines x seconds; `busy_s`: those with a page;
    `starved_s`: those without one while none was ready and some were being rasterized; `throttled_s`: the part of these
    while fewer pages were in flight than there are slots, and others waited for room. `fetch_s`, `queue_s`,
    `render_s`: seconds that pages waited for bytes, waited for a renderer, and were rendered, all attempts together.
    """

    num_pages: int = 0
    engine_s: float = 0.0
    slot_s: float = 0.0
    busy_s: float = 0.0
    starved_s: float = 0.0
    throttled_s: float = 0.0
    fetch_s: float = 0.0
    queue_s: float = 0.0
    render_s: float = 0.0

    def __add__(self, other: FlowSums) -> FlowSums:
        return FlowSums(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Machinery:
    """What a run has to run on, all machines together. `num_renderers` can run at once. `cpus_of_engine`: what one
    engine takes for itself; None if engines compute on the CPUs that render, where a ratio means nothing. `unit`: what
    an engine is called, a GPU where it has exactly one.
    """

    num_engines: int
    num_cpus: float
    num_renderers: float
    cpus_of_engine: float | None
    unit: Literal["GPU", "engine"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`busy`: busy slots as a share of those that had or could have had a page. `fetching`: share of the time before
    pages were ready. `rendering`: share of the renderers. `cpu_s`: to rasterize a page. Rates are an engine's."""

    bound: Bound
    busy: float
    fetching: float
    rendering: float
    cpu_s: float
    pages_per_s: float
    full_pages_per_s: float
    cpus: float
    cpus_wanted: float | None
    unit: str

    def __str__(self) -> str:
        """Two lines: the verdict with advice, and the speed."""
        verdict = f"bound by {self._cause()}"
        if self.cpus_wanted is not None:
            verdict += f"; {self._ratio(self.cpus_wanted)}"
        per_day = self.pages_per_s * _SECONDS_A_DAY
        return f"{verdict}\n{self.pages_per_s:.3g} pages/s, {per_day:,.0f} pages a day, for each {self.unit}"

    def _cause(self) -> str:
        match self.bound:
            case Bound.ENGINE:
                return f"the {self.unit}: slots {self.busy:.0%} busy"
            case Bound.STORE:
                return (
                    f"S3: slots {self.busy:.0%} busy, and {self.fetching:.0%} of the time before pages are ready is "
                    "waiting for documents"
                )
            case Bound.RASTERIZATION:
                return f"rasterization: slots {self.busy:.0%} busy, renderers {self.rendering:.0%}"
            case Bound.FLOW:
                return (
                    f"the bytes in flight: slots {self.busy:.0%} busy, and no room for as many pages as slots; "
                    "raise flow.megabytes_in_flight"
                )

    def _ratio(self, wanted: float) -> str:
        fed = 1 / (self.cpu_s * self.full_pages_per_s) if self.cpu_s else float("inf")
        arithmetic = (
            f"rasterizing takes {self.cpu_s:.3f} CPU s a page, so 1 CPU feeds {fed:.2g} {self.unit}s "
            f"at {self.full_pages_per_s:.3g} pages/s"
        )
        if abs(wanted - self.cpus) <= self.cpus * _NOT_WORTH_A_CHANGE:
            return f"{arithmetic}: CPU:{self.unit} is right at {self.cpus:.3g}:1"
        direction = "could go down" if wanted < self.cpus else "should go up"
        return f"{arithmetic}: CPU:{self.unit} {direction} from {self.cpus:.3g}:1 to {wanted:.2g}:1"


def find_bottleneck(sums: FlowSums, machinery: Machinery) -> Verdict | None:
    """None while there is nothing to judge by."""
    if not (sums.num_pages and sums.busy_s and sums.render_s):
        return None
    busy = sums.busy_s / (sums.busy_s + sums.starved_s)
    fetching = sums.fetch_s / ((sums.fetch_s + sums.queue_s + sums.render_s) or 1.0)
    rendering = sums.render_s / (machinery.num_renderers / machinery.num_engines * sums.engine_s)
    pages_per_s = sums.num_pages / sums.engine_s
    full_pages_per_s = pages_per_s * sums.slot_s / sums.busy_s
    cpu_s = sums.render_s / sums.num_pages
    own = machinery.cpus_of_engine
    return Verdict(
        bound=_bound(sums, busy, fetching),
        busy=busy,
        fetching=fetching,
        rendering=min(1.0, rendering),
        cpu_s=cpu_s,
        pages_per_s=pages_per_s,
        full_pages_per_s=full_pages_per_s,
        cpus=machinery.num_cpus / machinery.num_engines,
        cpus_wanted=None if own is None else own + full_pages_per_s * cpu_s / _ROOM_FOR_SLOW_PAGES,
        unit=machinery.unit,
    )


def _bound(sums: FlowSums, busy: float, fetching: float) -> Bound:
    if busy >= _ENGINES_ARE_BUSY:
        return Bound.ENGINE
    if sums.throttled_s > sums.starved_s / 2:
        return Bound.FLOW
    return Bound.STORE if fetching > 0.5 else Bound.RASTERIZATION
