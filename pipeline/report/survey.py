"""Reads a run: pages and timings of one shard after the other, into counts that fit on a page.

The ledger (`results/ledger.py`) is taken from the same rows in the same pass, so no two numbers of a report
disagree, also while the run goes on. Does not read texts or documents, and draws nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from quire.errors import NotFound
from quire.meters.metrics import rung
from quire.records import Outcome, PageRange, Shard
from quire.report.histograms import Histogram, Timeline
from quire.report.notable import NotablePage, Topmost, badness
from quire.results.ledger import COLUMNS, Account, Row, take_account
from quire.storage import Folder
from quire.tables.keys import pages_key, timings_key
from quire.tables.parquet import read_rows

NUM_NOTABLE = 100
_NUM_EXAMPLES = 3  # of each kind of failure
_MESSAGE_MAX_CHARS = 300
_PAGE_COLUMNS = ("attempts", "num_image_tokens", "num_output_tokens", "compression", "mean_logprob")
_SECONDS = [0.01 * 10 ** (step / 6) for step in range(31)]  # 10 ms to 1000 s
_TOKENS = [2 ** (step / 2) for step in range(31)]  # 1 to 32768
_COMPRESSIONS = [step / 4 for step in range(81)]  # 0 to 20
_LOGPROBS = [step / 20 for step in range(-40, 1)]  # -2 to 0


@dataclass(slots=True)
class HostTotals:
    """What one host did. `seconds` are summed over pages, many of which it works on at a time."""

    num_pages: int = 0
    render_s: float = 0.0
    recognize_s: float = 0.0


@dataclass(slots=True)
class Survey:
    """A run in numbers, beside those of its account.

    `unrendered` and `given_up` are failed pages by kind: those that no engine saw, and the rest. `attempts` is counted
    by (rung from 1, mode with temperature, outcome), `failures` by (stage, kind); marks are counted in the account. Of
    each kind of failure and of mark, as ("", kind), there are a few examples. The histograms of tokens count pages that
    have any.
    """

    account: Account = field(default_factory=Account)
    num_read_at_first: int = 0
    num_read_later: int = 0
    unrendered: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    attempts: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[NotablePage]] = field(default_factory=lambda: defaultdict(list))
    num_image_tokens: int = 0
    num_output_tokens: int = 0
    output_tokens: Histogram = field(default_factory=lambda: Histogram(_TOKENS))
    compression: Histogram = field(default_factory=lambda: Histogram(_COMPRESSIONS))
    mean_logprob: Histogram = field(default_factory=lambda: Histogram(_LOGPROBS))
    render_s: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    recognize_s: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    timeline: Timeline = field(default_factory=Timeline)
    hosts: dict[str, HostTotals] = field(default_factory=lambda: defaultdict(HostTotals))
    slowest: Topmost = field(default_factory=lambda: Topmost(NUM_NOTABLE))
    worst: Topmost = field(default_factory=lambda: Topmost(NUM_NOTABLE))

    def add(self, shard: Shard, rows: list[Row]) -> None:
        sources = {source.doc_id: source for source in shard.ranges}
        for row in rows:
            source = sources.get(row["doc_id"])
            if source is not None:  # if None, the ledger reports it as a problem
                self._add_page(partial(_notable, row, source, shard.shard_id), row)

    def _add_page(self, make: partial[NotablePage], row: Row) -> None:
        outcome, attempts = Outcome(row["outcome"]), row["attempts"]
        for number, attempt in enumerate(attempts, 1):
            self.attempts[number, rung(attempt["mode"], attempt["temperature"]), attempt["outcome"]] += 1
        if outcome is Outcome.FAILED:
            self._add_failure(make, row["failure"] or {}, was_tried=bool(attempts))
        elif outcome is not Outcome.BLANK and len(attempts) > 1:
            self.num_read_later += 1
        elif outcome is not Outcome.BLANK:
            self.num_read_at_first += 1
        for mark in row["marks"] or ():
            self._add_example(make, ("", mark["kind"]))
        self._add_tokens(row)
        self._add_timing(make, row["timing"], was_tried=bool(attempts))
        rank = badness(outcome, len(row["marks"] or ()), len(attempts), row["mean_logprob"])
        if rank is not None:
            self.worst.offer(rank, make)

    def _add_failure(self, make: partial[NotablePage], failure: dict[str, str], was_tried: bool) -> None:
        kind = failure.get("kind", "without a reason")
        (self.given_up if was_tried else self.unrendered)[kind] += 1
        name = (failure.get("stage", ""), kind)
        self.failures[name] += 1
        self._add_example(make, name)

    def _add_example(self, make: partial[NotablePage], name: tuple[str, str]) -> None:
        if len(self.examples[name]) < _NUM_EXAMPLES:
            self.examples[name].append(make())

    def _add_tokens(self, row: Row) -> None:
        self.num_image_tokens += row["num_image_tokens"]
        self.num_output_tokens += row["num_output_tokens"]
        if row["num_output_tokens"]:
            self.output_tokens.add(row["num_output_tokens"])
        if row["compression"] is not None:
            self.compression.add(row["compression"])
        if row["mean_logprob"] is not None:
            self.mean_logprob.add(row["mean_logprob"])

    def _add_timing(self, make: partial[NotablePage], timing: Row | None, was_tried: bool) -> None:
        if timing is None:
            return
        host, render_s, recognize_s = timing["host"], timing["render_s"], timing["recognize_s"]
        totals = self.hosts[host]
        totals.num_pages += 1
        totals.render_s += render_s
        totals.recognize_s += recognize_s
        self.render_s.add(render_s)
        if was_tried:
            self.recognize_s.add(recognize_s)
        if timing.get("finished_at") is not None:
            self.timeline.add(timing["finished_at"], host)
        self.slowest.offer((render_s + recognize_s,), make)


def survey(folder: Folder) -> Survey:
    """Read all that is written of a run. Memory does not grow with the number of pages."""
    found = Survey()
    found.account = take_account(folder, read=_read, observe=found.add)
    return found


def _read(folder: Folder, shard: Shard) -> list[Row]:
    """A shard's rows, each with its row of `timings` as "timing": None where there is none."""
    rows = read_rows(folder, pages_key(shard.shard_id), [*COLUMNS, *_PAGE_COLUMNS])
    try:  # whole, as files of version 1 lack a column
        timings = read_rows(folder, timings_key(shard.shard_id))
    except NotFound:
        timings = []
    by_page = {(timing["doc_id"], timing["page_index"]): timing for timing in timings}
    return [{**row, "timing": by_page.get((row["doc_id"], row["page_index"]))} for row in rows]


def _notable(row: Row, source: PageRange, shard_id: str) -> NotablePage:
    failure: dict[str, str] = row["failure"] or {}
    timing: dict[str, Any] = row["timing"] or {}
    return NotablePage(
        source=source,
        shard_id=shard_id,
        page_index=row["page_index"],
        outcome=Outcome(row["outcome"]),
        failure_kind=failure.get("kind", ""),
        failure_message=failure.get("message", "")[:_MESSAGE_MAX_CHARS],
        failure_stage=failure.get("stage", ""),
        attempts=tuple(
            (rung(attempt["mode"], attempt["temperature"]), attempt["outcome"]) for attempt in row["attempts"]
        ),
        marks=tuple((mark["kind"], mark["message"][:_MESSAGE_MAX_CHARS]) for mark in row["marks"] or ()),
        mean_logprob=row["mean_logprob"],
        num_output_tokens=row["num_output_tokens"],
        render_s=timing.get("render_s", 0.0),
        recognize_s=timing.get("recognize_s", 0.0),
    )
