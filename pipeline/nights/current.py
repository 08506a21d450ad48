"""The corpus as it is now: the texts and pages of the objects that the newest night says are live.

`documents` and `pages` hold everything that was ever converted; these functions give what belongs to a live
object, once for each URI, wherever its bytes were first found. One file is read at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from quire.nights.log import latest_night
from quire.storage import Folder
from quire.tables.parquet import read_rows

_Files = dict[str, dict[str, list[str]]]  # URIs by doc_id, by file


def current_documents(folder: Folder, columns: Sequence[str] = ("text", "page_ends")) -> Iterator[dict[str, Any]]:
    """One row a live object that has a text: its `uri`, `doc_id`, and these columns of `documents`."""
    files: _Files = {}
    for row in _live(folder, "documents_file"):
        files.setdefault(row["documents_file"], {}).setdefault(row["doc_id"], []).append(row["uri"])
    return _rows(folder, files, columns)


def current_pages(
    folder: Folder, columns: Sequence[str] = ("page_index", "outcome", "markdown")
) -> Iterator[dict[str, Any]]:
    """One row a page of each live object: its `uri`, `doc_id`, and these columns of `pages`. A document's pages come in
    order, unless it is spread over several shards."""
    files: _Files = {}
    for row in _live(folder, "pages_files"):
        for file in row["pages_files"]:
            files.setdefault(file, {}).setdefault(row["doc_id"], []).append(row["uri"])
    return _rows(folder, files, columns)


def _live(folder: Folder, files: str) -> list[dict[str, Any]]:
    """The live objects with pages."""
    live = latest_night(folder).live.select(["uri", "doc_id", "num_pages", files])
    return [row for row in live.to_pylist() if row["num_pages"]]


def _rows(folder: Folder, files: _Files, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for key, uris in files.items():
        for row in read_rows(folder, key, ["doc_id", *columns]):
            for uri in uris.get(row["doc_id"], ()):
                yield {"uri": uri, **row}
