"""Which pages of a document are read, as a person writes it: `1-5,9`, counted from 1, `3-` for the third and all after.

Knows no documents. The ranges that come out count from 0 and exclude their end, as everywhere else in Quire.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from quire.errors import ConfigError

Ranges = tuple[tuple[int, int], ...]

_RANGE = re.compile(r"([0-9]{1,9})(-([0-9]{0,9}))?")
_NO_END = 10**9


def canonical(pages: str) -> str:
    """The shortest way to write the same pages; empty for all of them. Raises `ConfigError`."""
    ranges = _merged(_parsed(pages)) if pages.strip() else ()
    return "" if ranges == ((0, _NO_END),) else in_words(ranges)


def chosen(pages: str, num_pages: int) -> Ranges:
    """The chosen pages of a document with `num_pages`, in order; `pages` empty: all. Raises `ConfigError`."""
    wanted = _merged(_parsed(pages)) if pages.strip() else ((0, _NO_END),)
    return tuple((start, min(stop, num_pages)) for start, stop in wanted if start < num_pages)


def in_words(ranges: Iterable[tuple[int, int]]) -> str:
    """Ranges, which must be in order, as `1-5,9`."""
    return ",".join(_range_in_words(start, stop) for start, stop in ranges)


def ranges_of(page_indices: Iterable[int]) -> Ranges:
    """The ranges of these indices, which count from 0."""
    return _merged((index, index + 1) for index in page_indices)


def _range_in_words(start: int, stop: int) -> str:
    if stop == _NO_END:
        return f"{start + 1}-"
    return f"{start + 1}" if stop == start + 1 else f"{start + 1}-{stop}"


def _parsed(pages: str) -> Iterator[tuple[int, int]]:
    for part in pages.split(","):
        match = _RANGE.fullmatch("".join(part.split()))
        start = int(match[1]) if match else 0
        stop = start if match and not match[2] else int(match[3] or _NO_END) if match else 0
        if not 1 <= start <= stop:
            raise ConfigError(
                f"cannot understand the pages {pages!r}: write 1-5,9, or 3- for the third and all after"
            )
        yield start - 1, stop


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)
