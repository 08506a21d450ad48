"""From documents listed to pages read: what is left after each step, and why the rest was lost. Pure arithmetic."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from quire.planning.plan_log import CONVERTED
from quire.records import DocumentStatus
from quire.report.survey import Survey

_READABLE = {status.value for status in (*CONVERTED, DocumentStatus.DUPLICATE)}


@dataclass(frozen=True, slots=True)
class Step:
    """`count` is that of the step before, of the same unit, plus all `changes` (reason, number). The first step of a
    unit has no changes."""

    unit: str
    name: str
    count: int
    changes: tuple[tuple[str, int], ...] = ()


def funnel(survey: Survey) -> list[Step]:
    """Steps in documents, then in pages; the last one is the number of pages that were read."""
    account, steps = survey.account, []
    unreadable = {status: number for status, number in account.documents.items() if status not in _READABLE}
    duplicates = account.documents[DocumentStatus.DUPLICATE.value]
    cut_off = sum(status in _READABLE for status, _ in account.unread.values())
    unreadable["cut off before the first page"] = cut_off
    steps.append(Step("documents", "listed", account.documents.total()))
    steps.append(_less(steps[-1], "readable", unreadable))
    steps.append(_less(steps[-1], "not duplicates", {"duplicate": duplicates}))

    steps.append(Step("pages", "planned", account.num_pages))
    if account.pages.total() != account.num_pages:
        missing = {"without a row": account.num_pages - account.pages.total()}
        steps.append(_less(steps[-1], "converted", missing))
    if replaced := account.pages["replaced"]:
        steps.append(_less(steps[-1], "not planned again", {"replaced": replaced}))
    steps.append(_less(steps[-1], "rendered", survey.unrendered))
    steps.append(_less(steps[-1], "with ink", {"blank": account.pages["blank"]}))
    later = {"read at a later attempt": survey.num_read_later}
    steps.append(_less(steps[-1], "read at the first attempt", {**later, **survey.given_up}))
    regained = tuple((reason, number) for reason, number in later.items() if number)
    steps.append(Step("pages", "read", steps[-1].count + survey.num_read_later, regained))
    return steps


def _less(before: Step, name: str, losses: dict[str, int] | Counter[str]) -> Step:
    """The step that is left when some are lost; the greatest loss first."""
    ordered = Counter(losses).most_common()
    changes = tuple((reason, -number) for reason, number in ordered if number)
    return Step(before.unit, name, before.count - sum(losses.values()), changes)
