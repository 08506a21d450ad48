"""One page on a night: what changed, what was read, what failed. Words for people, JSON for machines.

Names of objects are untrusted: what is not printable is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quire.jobs.printable import printable
from quire.nights.changes import Known
from quire.nights.log import Night, night_key
from quire.nights.look_up import Found
from quire.planning.plan_log import CONVERTED
from quire.quantities import counted
from quire.records import DocumentStatus

_CHANGES = ("added", "edited", "touched", "renamed", "opened", "retried", "deleted")
_NEW_BYTES = ("added", "edited", "opened", "retried")
_NOTHING_LOST = (*CONVERTED, DocumentStatus.IGNORED)
_NUM_NAMES = 5
_NUM_WORST = 10


@dataclass(frozen=True, slots=True)
class NightReport:
    """`number` is that of the newest night; `is_recorded` says whether this run wrote it, since something had changed.

    `changes`: names by change; a renamed object appears only as "old → new". `pages`, `failures`, `num_tokens` and
    `num_doubtful` (pages with marks) count only bytes that are new in the corpus. `num_new`: objects that are new or
    hold other bytes. `worst`: those of them that have failed pages or could not be read at all, with the reason.
    `num_unread`: how many could not be read at all.
    """

    output: str
    number: int
    is_recorded: bool
    seconds: float
    live: Counter[str]
    changes: Mapping[str, Sequence[str]]
    unreadable: Mapping[str, str]
    pages: Counter[str]
    failures: Counter[str]
    num_tokens: int
    num_doubtful: int
    num_new: int
    num_unread: int
    worst: Sequence[tuple[str, str]]

    @classmethod
    def of(
        cls, output: str, night: Night, is_recorded: bool, known: Mapping[str, Known], found: Found, seconds: float
    ) -> NightReport:
        """`known`: what was live before the night."""
        rows = night.changes.to_pylist() if is_recorded else []
        seen = {before.doc_id for before in known.values() if before.status in CONVERTED}
        new_rows = [row for row in rows if row["change"] in _NEW_BYTES]
        new = {row["doc_id"] for row in new_rows if row["change"] == "retried" or row["doc_id"] not in seen}
        counts = [found.pages[doc_id] for doc_id in new if doc_id in found.pages]
        return cls(
            output=output,
            number=night.number,
            is_recorded=is_recorded,
            seconds=seconds,
            live=Counter(night.live["status"].to_pylist()),
            changes=_names(rows),
            unreadable=found.unreadable,
            pages=sum((count.outcomes for count in counts), Counter()),
            failures=sum((count.failures for count in counts), Counter()),
            num_tokens=sum(count.num_tokens for count in counts),
            num_doubtful=sum(count.num_doubtful for count in counts),
            num_new=len(new_rows),
            num_unread=sum(row["status"] not in _NOTHING_LOST for row in new_rows),
            worst=_worst(new_rows),
        )

    def has_failures(self, tolerated: float | None = None) -> bool:
        """Like `Account.has_losses`, but only for what is new."""
        if tolerated is None:
            return bool(self.unreadable or self.worst or self.num_doubtful)
        num_unread, num_looked_at = self.num_unread + len(self.unreadable), self.num_new + len(self.unreadable)
        return self.pages["failed"] > tolerated * self.pages.total() or num_unread > tolerated * num_looked_at

    def describe(self) -> str:
        """The page."""
        what = "recorded" if self.is_recorded else "nothing has changed since"
        lines = [f"night {self.number} of {self.output}: {what}, after {self.seconds:,.0f} s"]
        lines += [_line(change, names) for change, names in self.changes.items()]
        if self.unreadable:
            lines.append(_line("unreadable", list(self.unreadable)) + "; as they were, and tried again next time")
        lines.append(
            f"new pages   {self.pages.total()}: {_counts(self.pages)}; {counted(self.num_tokens, 'token')}"
        )
        if self.failures:
            lines.append(f"failures    {_counts(self.failures)}")
        if self.num_doubtful:
            lines.append(f"doubtful    {counted(self.num_doubtful, 'page')} that did not fail")
        lines += [f"  {printable(uri)}  {printable(why)}" for uri, why in self.worst[:_NUM_WORST]]
        if len(self.worst) > _NUM_WORST:
            lines.append(f"  … and {len(self.worst) - _NUM_WORST} more")
        lines.append(f"live        {counted(self.live.total(), 'object')}: {_counts(self.live)}")
        if self.number:
            lines.append(
                f"what is live is in {self.output}/{night_key(self.number)}, where change is not 'deleted'"
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "night": self.number,
            "is_recorded": self.is_recorded,
            "seconds": round(self.seconds, 3),
            "live": dict(self.live),
            "changes": {change: len(names) for change, names in self.changes.items()},
            "unreadable": dict(self.unreadable),
            "pages": dict(self.pages),
            "failures": dict(self.failures),
            "num_tokens": self.num_tokens,
            "num_doubtful": self.num_doubtful,
            "worst": [{"uri": uri, "reason": why} for uri, why in self.worst[:_NUM_WORST]],
        }


def _names(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {change: [] for change in _CHANGES}
    moved = {row["renamed_from"] for row in rows if row["renamed_from"]}
    for row in rows:
        if row["renamed_from"]:
            names["renamed"].append(f"{row['renamed_from']} → {row['uri']}")
        elif not (row["change"] == "deleted" and row["uri"] in moved):
            names[row["change"]].append(row["uri"])
    return names


def _worst(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """New objects that were not read in full, those with the most failed pages first."""
    losses = []
    for row in rows:
        if row["num_failed"] or row["status"] not in _NOTHING_LOST:
            pages = f"{row['num_failed']} of {counted(row['num_pages'], 'page')} failed"
            why = pages if row["num_failed"] else f"{row['status']}: {row['detail']}"
            losses.append((-row["num_failed"], row["uri"], why))
    return [(uri, why) for _, uri, why in sorted(losses)]


def _line(change: str, names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_NUM_NAMES])
    more = ", …" if len(names) > _NUM_NAMES else ""
    return f"{change:<12}{len(names):<6}{shown}{more}".rstrip()


def _counts(counts: Counter[str]) -> str:
    in_order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {name}" for name, number in in_order) or "none"
