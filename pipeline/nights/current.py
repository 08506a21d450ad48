"""The corpus as it is now: the texts and pages of the objects that the newest night says are live.

`documents` and `pages` hold everything that was ever converted. These functions give what belongs to a live object,
once for each URI, also if its bytes were first found under another URI. One file is read at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from quire.nights.log import latest_night
from quire.storage import Folder
from quire.tables.parquet import read_columns
from quire.tables.schema import DOCUMENTS, PAGES

_Files = dict[str, dict[str, list[str]]]  # URIs by doc_id, by file


def live_documents(folder: Folder, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """One row a live object that has a text: its `uri`, `doc_id`, and these columns of `documents`; None: all. A table
    for each file."""
    files: _Files = {}
    for row in _live(folder, "documents_file"):
        files.setdefault(row["documents_file"], {}).setdefault(row["doc_id"], []).append(row["uri"])
    return _tables(folder, files, DOCUMENTS, columns)


def live_pages(folder: Folder, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """One row a page of each live object: its `uri`, `doc_id`, and these columns of `pages`; None: all. A table for
    each file. A document's pages come in order, unless it is spread over several shards."""
    files: _Files = {}
    for row in _live(folder, "pages_files"):
        for file in row["pages_files"]:
            files.setdefault(file, {}).setdefault(row["doc_id"], []).append(row["uri"])
    return _tables(folder, files, PAGES, columns)


def _live(folder: Folder, files: str) -> list[dict[str, Any]]:
    """The live objects that have pages files."""
    live = latest_night(folder).live.select(list({"uri", "doc_id", "pages_files", files}))
    return [row for row in live.to_pylist() if row["pages_files"]]


def _tables(folder: Folder, files: _Files, schema: pa.Schema, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    wanted = list(dict.fromkeys(["doc_id", *(schema.names if columns is None else columns)]))
    for key, uris_of in files.items():
        table = read_columns(folder, key, schema, wanted)
        doc_ids = table["doc_id"].to_pylist()
        rows = [(index, uri) for index, doc_id in enumerate(doc_ids) for uri in uris_of.get(doc_id, ())]
        uris = pa.array([uri for _, uri in rows], pa.string())
        yield table.take(pa.array([index for index, _ in rows], pa.int64())).add_column(0, "uri", uris)
