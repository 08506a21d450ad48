"""All of a report as one HTML page that loads nothing and runs nothing.

Names and texts come from documents that may be hostile: jinja2 escapes whatever goes into the page (only the drawings
of `figures.py` are taken as they are), and the page's own policy forbids scripts and requests should something slip
through. Does not read tables or render documents.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quire.errors import AccountingError, ConfigError
from quire.report import figures
from quire.report.excerpts import Key
from quire.report.funnel import funnel
from quire.report.notable import NotablePage
from quire.report.survey import NUM_NOTABLE, Survey
from quire.report.thumbnails import Thumbnail
from quire.results.run_folder import versions_of
from quire.storage.uris import is_remote, local_path
from quire.versions import successions

_MAX_UNREAD = 100
_MAX_KINDS = 12  # of failure in a drawing
_VALUE_MAX_CHARS = 400
_VERDICTS = ("ok", "loop", "truncated")
_ANOTHER_FAILURE = "another failure"


@dataclass(frozen=True, slots=True)
class Report:
    """What goes into the page. `described` is the run's `quire.json` as `run_folder.read` gives it, without secrets; a
    page without thumbnail gets none."""

    uri: str
    made_at: datetime
    survey: Survey
    described: Mapping[str, Any]
    excerpts: Mapping[Key, str]
    thumbnails: Mapping[Key, Thumbnail]


def to_html(report: Report) -> str:
    """The page, complete with styles, drawings and pictures."""
    found = report.survey
    rows = {
        "report": report,
        "found": found,
        "account": found.account,
        "disagreement": _disagreement(found),
        "steps": funnel(found),
        "drawings": _drawings(found),
        "unread": list(found.account.unread.items())[:_MAX_UNREAD],
        "num_notable": NUM_NOTABLE,
        "settings": {name: shown(value) for name, value in report.described["settings"].items()},
        "versions": successions(versions_of(report.described)),
    }
    return _environment().get_template("report.html.jinja").render(rows)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("quire.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Any] = {"count": count, "seconds": seconds, "share": share, "moment": moment, "link": link}
    environment.filters.update(filters)
    return environment


def _disagreement(found: Survey) -> str:
    """Which sums of a finished run disagree, in words; empty if none. An unfinished one cannot balance yet."""
    if not found.account.is_complete and not found.account.problems:
        return ""
    try:
        found.account.insist()
    except AccountingError as exc:
        return str(exc)
    return ""


def _drawings(found: Survey) -> dict[str, Markup]:
    """The drawings by name, without those that would be empty."""
    account, drawings = found.account, {}
    outcomes = {name: account.pages[name] for name in ("ocr", "text_layer", "blank", "failed")}
    outcomes["without a row"] = max(0, account.num_pages - account.pages.total())
    if any(outcomes.values()):
        wanted = {name: number for name, number in outcomes.items() if number or name in ("ocr", "failed")}
        drawings["outcomes"] = figures.bars(wanted, "Pages by outcome")
    if found.attempts:
        drawings["rungs"] = figures.stacked_bars(_rungs(found), "Attempts by rung and outcome")
    if found.failures:
        kinds = {f"{stage}: {kind}": number for (stage, kind), number in found.failures.most_common(_MAX_KINDS)}
        drawings["failures"] = figures.bars(kinds, "Failed pages by kind", is_wide=True)
    if found.timeline.num_pages:
        drawings["throughput"] = figures.throughput(found.timeline)
    for name, unit, title, is_logarithmic in (
        ("render_s", "seconds", "Seconds of rendering a page", True),
        ("recognize_s", "seconds", "Seconds of reading a page, waiting for a turn included", True),
        ("output_tokens", "tokens", "Output tokens a page", True),
        ("compression", "output tokens per image token", "Compression", False),
        ("mean_logprob", "mean log probability of a token", "How sure the engine was", False),
    ):
        values = getattr(found, name)
        if values.num_values:
            drawings[name] = figures.histogram(values, unit, title, is_logarithmic=is_logarithmic)
    return drawings


def _rungs(found: Survey) -> dict[str, dict[str, int]]:
    """Counts by outcome of each rung, from the lowest. Kinds of failure have a section of their own."""
    rungs: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys((*_VERDICTS, _ANOTHER_FAILURE), 0))
    for (rung, request, outcome), number in sorted(found.attempts.items()):
        rungs[f"{rung}. {request}"][outcome if outcome in _VERDICTS else _ANOTHER_FAILURE] += number
    return rungs


def shown(value: Any) -> str:
    """A setting's value as text."""
    text = json.dumps(value)
    return text if len(text) <= _VALUE_MAX_CHARS else f"{text[:_VALUE_MAX_CHARS]} …"


def link(page: NotablePage) -> str:
    """Where a browser may open the page of a local document; empty for one in a bucket."""
    if is_remote(page.source.uri):
        return ""
    try:
        path = local_path(page.source.uri)
    except ConfigError:
        return ""
    return f"file://{quote(path, errors='surrogateescape')}#page={page.page_index + 1}"


def count(number: float) -> str:
    return f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """As a percentage; 100 only if nothing is missing, 0 only if there is nothing."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < part < whole:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.1f}".removesuffix(".0") + " %"


def seconds(number: float) -> str:
    """With the unit that suits it."""
    if number < 1:
        return f"{number * 1000:.0f} ms"
    if number < 120:
        return f"{number:.1f}".removesuffix(".0") + " s"
    minutes = round(number / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"
