"""The first lines of a few pages, from the rows that have them. Texts are as hostile as their documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from quire.report.notable import NotablePage
from quire.storage import Folder
from quire.tables.keys import pages_key
from quire.tables.parquet import read_many, read_rows

_MAX_LINES = 4
_MAX_CHARS = 240
_MAX_LOOKED_AT = 2000  # characters of a text, which may be megabytes

Key = tuple[str, str, int]


def read_excerpts(folder: Folder, pages: Iterable[NotablePage]) -> Mapping[Key, str]:
    """What each page's text begins with, by `NotablePage.key`: its Markdown, or else what the engine last said."""
    wanted = {page.key for page in pages}
    indices: dict[tuple[str, str], set[int]] = defaultdict(set)
    for shard_id, doc_id, page_index in wanted:
        indices[shard_id, doc_id].add(page_index)
    found = read_many(lambda place: _read(folder, place, indices[place]), sorted(indices))
    return {key: text for _, part in found for key, text in part.items()}


def _read(folder: Folder, place: tuple[str, str], indices: set[int]) -> dict[Key, str]:
    shard_id, doc_id = place
    rows = read_rows(folder, pages_key(shard_id), ["page_index", "markdown", "raw_text"], doc_id)
    return {
        (shard_id, doc_id, row["page_index"]): beginning(row["markdown"] or row["raw_text"])
        for row in rows
        if row["page_index"] in indices
    }


def beginning(text: str) -> str:
    """A few lines, blank ones left out; cut text ends in an ellipsis."""
    lines = [line.strip() for line in text[:_MAX_LOOKED_AT].splitlines() if line.strip()]
    short = "\n".join(lines[:_MAX_LINES])[:_MAX_CHARS]
    is_whole = short == "\n".join(lines) and len(text) <= _MAX_LOOKED_AT
    return short if is_whole else f"{short} …"
