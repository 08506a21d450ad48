"""What a run tells of itself while it runs: the list of its metrics, and what one page adds to the counters.

A metric is data; `Report` is how it leaves the process. `flows/on_ray/metrics.py` reports through Ray's agents and
`metrics_port.py` through a port of this process; both serve the same names. Every metric also has the label `run`, the
output folder's URI, which the reporter adds.

Counters count work: pages whose outcome is known, which are a little ahead of the rows that are committed. Pages of a
shard that was lost with its runner are counted once, however often the shard is converted; a run that is started again
counts the pages of unfinished shards again. The truth about rows is in the files (`quire status`).

Knows no Prometheus, no Ray, and nothing of where numbers come from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from quire.records import PageResult

PAGES = "quire_pages"
FAILURES = "quire_failures"
ATTEMPTS = "quire_attempts"
TOKENS = "quire_tokens"
ENGINE_DEATHS = "quire_engine_deaths"
ENGINES = "quire_engines"
SLOTS = "quire_slots"
SLOTS_BUSY = "quire_slots_busy"
PAGES_WAITING = "quire_pages_waiting"
PAGES_RASTERIZING = "quire_pages_rasterizing"
BYTES_IN_FLIGHT = "quire_bytes_in_flight"
BYTES_IN_FLIGHT_LIMIT = "quire_bytes_in_flight_limit"
BOUND = "quire_bound"
CPUS_PER_ENGINE = "quire_cpus_per_engine"
FETCH_SECONDS = "quire_fetch_seconds"
RENDER_SECONDS = "quire_render_seconds"
RENDER_QUEUE_SECONDS = "quire_render_queue_seconds"
RECOGNIZE_SECONDS = "quire_recognize_seconds"

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` is without the `_total` that Prometheus gives to counters, and without the `ray_` that Ray puts before
    all names. `buckets`: upper bounds of a histogram's buckets."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_FAST = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
_SLOW = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 45.0, 90.0, 180.0, 600.0)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(PAGES, "counter", "Pages whose outcome is known; work done, not rows written.", ("outcome",)),
        Metric(FAILURES, "counter", "Failed pages, by the stage that failed and why.", ("stage", "kind")),
        Metric(
            ATTEMPTS,
            "counter",
            "Attempts that pages took, by rung of the ladder (mode, or mode@temperature) and how they ended.",
            ("rung", "outcome"),
        ),
        Metric(TOKENS, "counter", "Tokens of pages' images and of the texts they ended with.", ("kind",)),
        Metric(ENGINE_DEATHS, "counter", "Engines that died or were stuck and ended; each is started again."),
        Metric(ENGINES, "gauge", "Engines that are ready to read."),
        Metric(SLOTS, "gauge", "Pages that the ready engines want in flight."),
        Metric(SLOTS_BUSY, "gauge", "Pages that engines are reading."),
        Metric(PAGES_WAITING, "gauge", "Rasterized pages that wait for an engine's slot."),
        Metric(PAGES_RASTERIZING, "gauge", "Pages asked of the rasterizers: being fetched, rendered, or queued."),
        Metric(
            BYTES_IN_FLIGHT, "gauge", "Bytes of page images, from rasterization until an engine has read them."
        ),
        Metric(BYTES_IN_FLIGHT_LIMIT, "gauge", "What flow.megabytes_in_flight allows, in bytes."),
        Metric(BOUND, "gauge", "1 for what has bounded the run so far, 0 for what has not.", ("by",)),
        Metric(
            CPUS_PER_ENGINE, "gauge", "CPUs for each engine: those there are, and those it could use.", ("which",)
        ),
        Metric(
            FETCH_SECONDS,
            "histogram",
            "Seconds that pages asked for together waited for their document's bytes.",
            (),
            _FAST,
        ),
        Metric(RENDER_SECONDS, "histogram", "Seconds that the renderer took for a page.", (), _FAST),
        Metric(RENDER_QUEUE_SECONDS, "histogram", "Seconds that a page waited for a renderer.", (), _FAST),
        Metric(
            RECOGNIZE_SECONDS,
            "histogram",
            "Seconds of one attempt, from the image being there to the answer; waiting for a slot is part of it.",
            ("rung",),
            _SLOW,
        ),
    )
}


class Report(Protocol):
    """Adds `value` to a counter, sets a gauge to it, or puts it into a histogram. `labels` in the metric's order."""

    def __call__(self, name: str, value: float, *labels: str) -> None: ...


def report_nothing(name: str, value: float, *labels: str) -> None:
    """For runs without metrics."""


Tally = Counter[tuple[str, ...]]
"""Increments of counters, by (name, *labels)."""

_KIND = re.compile(r"[a-z0-9_]{1,60}")


def tally(page: PageResult) -> Tally:
    """What a finished page adds to the counters."""
    counts: Tally = Counter({(PAGES, page.outcome.value): 1})
    if page.failure is not None:
        counts[FAILURES, page.failure.stage, _known(page.failure.kind)] += 1
    for attempt in page.attempts:
        counts[ATTEMPTS, rung(attempt.mode, attempt.temperature), _known(attempt.outcome)] += 1
    if page.image is not None:
        counts[TOKENS, "image"] += page.image.num_image_tokens
    if page.recognition is not None:
        counts[TOKENS, "output"] += page.recognition.num_output_tokens
    return counts


def rung(mode: str, temperature: float) -> str:
    """A rung of the ladder in the words of the setting `engine.modes`."""
    return f"{mode}@{temperature:g}" if temperature else mode


def outcomes(counts: Tally) -> Counter[str]:
    """Pages by outcome."""
    return Counter({labels[0]: number for (name, *labels), number in counts.items() if name == PAGES})


def _known(kind: str) -> str:
    """A renderer that a document has taken over may send any text as a failure's kind: free text never becomes a
    label."""
    return kind if _KIND.fullmatch(kind) else "other"
