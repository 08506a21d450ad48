"""Pages worth a look: the slowest and the worst of a run, chosen from a stream. Does not read tables."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from quire.records import Outcome, PageRange


@dataclass(frozen=True, slots=True)
class NotablePage:
    """What the report shows of one page. `source` is the range of its document that has the page, `attempts` are
    (mode, outcome), `marks` (kind, message); seconds are 0 where the run's timings are gone."""

    source: PageRange
    shard_id: str
    page_index: int
    outcome: Outcome
    failure_kind: str = ""
    failure_message: str = ""
    failure_stage: str = ""
    attempts: tuple[tuple[str, str], ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    mean_logprob: float | None = None
    num_output_tokens: int = 0
    render_s: float = 0.0
    recognize_s: float = 0.0

    @property
    def key(self) -> tuple[str, str, int]:
        """Where its row is."""
        return self.shard_id, self.source.doc_id, self.page_index

    @property
    def seconds(self) -> float:
        return self.render_s + self.recognize_s


Rank = tuple[float, ...]


class Topmost:
    """Of all pages offered, the `limit` with the highest ranks; of equal ones, those offered first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[Rank, int, NotablePage]] = []
        self.num_offered = 0

    def offer(self, rank: Rank, make: Callable[[], NotablePage]) -> None:
        """`make` is called only if the page is among the topmost so far."""
        self.num_offered += 1
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, (rank, -self.num_offered, make()))
        elif rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (rank, -self.num_offered, make()))

    def pages(self) -> list[NotablePage]:
        """From the highest rank down."""
        return [page for _, _, page in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


def badness(outcome: Outcome, num_marks: int, num_attempts: int, mean_logprob: float | None) -> Rank | None:
    """How bad a page is: failed, then doubtful, then tried again, then by how unsure the engine was. None if nothing is
    wrong with it."""
    doubt = 0.0 if mean_logprob is None else -mean_logprob
    if outcome is Outcome.FAILED:
        return 3.0, doubt
    if num_marks:
        return 2.0, doubt
    if num_attempts > 1:
        return 1.0, doubt
    return None if mean_logprob is None else (0.0, doubt)
