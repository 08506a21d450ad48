"""The canary: the first shards of a run, and whether their results are good.

Of the shards that are left to do, one in a hundred goes first, spread evenly over them. Their committed rows are
compared with bounds. A bound counts as broken only if chance hardly explains it: the whole 90 % interval around the
counted value must lie beyond the bound. Pages are taken as independent of each other.

Does not know how shards are converted, nor what stops a run; see `gate.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from quire.config.sections import CanarySettings
from quire.estimate.figures import Figure
from quire.planning.plan_log import planned_shards
from quire.rasterize.text_layer import is_trustworthy
from quire.records import Outcome, PageFacts, Shard
from quire.storage import Folder
from quire.tables.keys import pages_key
from quire.tables.parquet import read_rows

SHARDS_PER_CANARY = 100
_MAX_SHARDS = 50  # of 256 pages each; more would hardly narrow intervals, and engines wait while they are read
_Z = 1.645  # of a normal distribution's middle 90 %
_NUM_SHOWN = 3
_COLUMNS = ["source_uri", "page_index", "outcome", "failure", "attempts", "num_output_tokens", "markdown", "facts"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """A broken bound in words, and the pages to look at, worst first."""

    words: str
    pages: Sequence[str]


def is_wanted(settings: CanarySettings, num_shards: int) -> bool:
    """Whether there is a canary, with so many shards left to do."""
    return num_shards >= SHARDS_PER_CANARY if settings.enabled is None else settings.enabled


def canary_shards(folder: Folder, done: Collection[str], num_left: int) -> list[Shard]:
    """A hundredth of the `num_left` planned shards that are not done, at least one, spread over them."""
    number = min(_MAX_SHARDS, max(1, num_left // SHARDS_PER_CANARY))
    positions = {index * num_left // number for index in range(number)}
    left = (shard for shard in planned_shards(folder) if shard.shard_id not in done)
    up_to_the_last = islice(left, max(positions) + 1)  # engines wait while the plan is read
    return [shard for position, shard in enumerate(up_to_the_last) if position in positions]


def check(
    folder: Folder, shards: Iterable[Shard], settings: CanarySettings, foretold: Figure | None = None
) -> list[Problem]:
    """The bounds that the shards' committed rows break. `foretold`: the estimate's tokens a page."""
    rows = [row for shard in shards for row in read_rows(folder, pages_key(shard.shard_id), _COLUMNS)]
    tried = [row for row in rows if row["attempts"]]
    layers = [row for row in tried if row["outcome"] == Outcome.OCR and _has_layer(row)]
    found = [
        _share("pages failed", rows, _has_failed, settings.max_failed_share, "canary.max_failed_share"),
        _share(
            "pages read went into a loop", tried, _has_looped, settings.max_loop_share, "canary.max_loop_share"
        ),
        _share(
            "pages with a text layer to trust disagree with it (half as long or less, or twice and more)",
            sorted(layers, key=_agreement),
            lambda row: _agreement(row) <= 0.5,
            settings.max_disagreeing_share,
            "canary.max_disagreeing_share",
        ),
        _tokens([row for row in tried if row["num_output_tokens"]], settings, foretold),
    ]
    return [problem for problem in found if problem]


def describe(problems: Iterable[Problem], num_judged: int, num_shards: int) -> str:
    """What is wrong, where to look, and how to go on."""
    lines = [f"the canary, {num_judged} of {num_shards} shards, is not well:"]
    for problem in problems:
        lines += [f"  {problem.words}", *(f"    {page}" for page in problem.pages)]
    lines.append("Look at these pages. To go on all the same, change the bound with --set, or say --no-canary")
    return "\n".join(lines)


def _share(
    words: str, rows: Sequence[Row], is_bad: Callable[[Row], bool], most: float, name: str
) -> Problem | None:
    """A problem if clearly more than the share `most` of the rows is bad."""
    bad = [row for row in rows if is_bad(row)]
    if not bad or wilson_low(len(bad), len(rows)) <= most:
        return None
    number = f"{len(bad)} of {len(rows)} {words}: {len(bad) / len(rows):.1%}"
    return Problem(f"{number}, where {most:.1%} are allowed ({name})", _shown(bad))


def _tokens(rows: Sequence[Row], settings: CanarySettings, foretold: Figure | None) -> Problem | None:
    """A problem if the mean of the output tokens is clearly outside the settings' bounds or the estimate's."""
    numbers = [row["num_output_tokens"] for row in rows]
    if len(numbers) < 2:
        return None
    mean = sum(numbers) / len(numbers)
    deviation = math.sqrt(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))
    margin = _Z * deviation / math.sqrt(len(numbers))
    low, high = settings.min_tokens_per_page, settings.max_tokens_per_page
    source = "canary.min_tokens_per_page and max_tokens_per_page"
    if foretold is not None and foretold.value > 0:
        expected = (foretold.low / settings.estimate_tolerance, foretold.high * settings.estimate_tolerance)
        if expected[0] > low or expected[1] < high:
            source = "the estimate's interval, widened by canary.estimate_tolerance"
        low, high = max(low, expected[0]), min(high, expected[1])
    if mean + margin >= low and mean - margin <= high:
        return None
    worst = sorted(rows, key=lambda row: row["num_output_tokens"], reverse=mean > high)
    return Problem(
        f"{mean:,.0f} tokens a page, where {low:,.0f} to {high:,.0f} are expected ({source})", _shown(worst)
    )


def wilson_low(number: int, total: int) -> float:
    """The lower end of Wilson's 90 % interval for the share `number` of `total`."""
    share, z2 = number / total, _Z * _Z
    spread = _Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return (share + z2 / (2 * total) - spread) / (1 + z2 / total)


def _has_failed(row: Row) -> bool:
    return bool(row["outcome"] == Outcome.FAILED)


def _has_looped(row: Row) -> bool:
    return any(attempt["outcome"] == "loop" for attempt in row["attempts"])


def _has_layer(row: Row) -> bool:
    return row["facts"] is not None and is_trustworthy(PageFacts(**row["facts"]))


def _agreement(row: Row) -> float:
    """Of the read text and the text layer: the length of the shorter as a share of the longer, without white space."""
    num_read, num_there = sum(map(len, row["markdown"].split())), row["facts"]["num_chars"]
    return float(min(num_read, num_there) / max(num_read, num_there))


def _shown(rows: Sequence[Row]) -> list[str]:
    """The first few pages in words, with names made printable."""
    words = []
    for row in rows[:_NUM_SHOWN]:
        uri = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in row["source_uri"])
        why = f": {row['failure']['kind']}" if row["failure"] else ""
        words.append(f"{uri} page {row['page_index'] + 1}{why}")
    return words
