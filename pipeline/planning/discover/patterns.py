"""Patterns over keys: `*` `?` `[…]` stay within a name between slashes, `**` stands for any number of folders."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

PATTERN_CHARACTERS = re.compile(r"[*?\[]")


def compile_pattern(pattern: str) -> list[re.Pattern[str] | None]:
    """One expression for each part between slashes; None for `**`."""
    # `**/**` means the same as `**`.
    parts = [part for last, part in pairwise(["", *pattern.split("/")]) if part != "**" or last != "**"]
    return [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]


def is_match(parts: Sequence[str], patterns: Sequence[re.Pattern[str] | None]) -> bool:
    """Whether a key's parts match. None stands for any number of folders, and for everything at the end.

    Time is at most proportional to parts times patterns, for any key: all ways to match are followed together.
    """
    reached = set(_at(0, patterns))  # how many patterns the parts so far may have used
    for part in parts:
        reached = {after for number in reached for after in _after(part, number, patterns)}
    return len(patterns) in reached


def _after(part: str, number: int, patterns: Sequence[re.Pattern[str] | None]) -> Iterator[int]:
    """How many patterns may be used after one more part."""
    if number == len(patterns):
        return
    pattern = patterns[number]
    if pattern is None:
        yield from _at(number, patterns)
        if number == len(patterns) - 1:
            yield len(patterns)
    elif pattern.match(part):
        yield from _at(number + 1, patterns)


def _at(number: int, patterns: Sequence[re.Pattern[str] | None]) -> Iterator[int]:
    """This number, and one more where the next pattern may stand for no folder at all."""
    yield number
    if number < len(patterns) - 1 and patterns[number] is None:
        yield number + 1
