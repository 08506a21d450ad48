"""The results of a run, as Arrow tables and as rows. Changes nothing, and does not know how they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import pyarrow as pa

from quire.api.keywords import Keywords, settings_from
from quire.nights.current import live_documents, live_pages
from quire.nights.log import has_nights
from quire.planning.plan_log import Replaced, part_keys, read_part, shards_of
from quire.results.ledger import Account, take_account
from quire.results.run_folder import read
from quire.storage import Folder, open_folder
from quire.tables.keys import committed_shards, pages_key
from quire.tables.parquet import read_columns
from quire.tables.schema import DOCUMENTS, PAGES

_Read = Callable[[Sequence[str] | None], Iterator[pa.Table]]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table, read file by file and each time anew, so that memory holds one file."""

    _read: _Read
    _schema: pa.Schema  # of all columns
    _columns: tuple[str, ...] | None = None

    def select(self, *columns: str) -> Rows:
        """The same rows with these columns alone. Fetches nothing else of the files."""
        return Rows(self._read, self._schema, columns)

    def tables(self) -> Iterator[pa.Table]:
        """An Arrow table for each file that has such rows. Raises KeyError for a column that there is not."""
        return (table for table in self._read(self._columns) if len(table))

    def to_arrow(self) -> pa.Table:
        """All of them as one Arrow table."""
        names = self._schema.names if self._columns is None else self._columns
        empty = pa.schema([self._schema.field(name) for name in names]).empty_table()
        return pa.concat_tables(tables) if (tables := list(self.tables())) else empty

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for table in self.tables():
            for batch in table.to_batches(max_chunksize=256):
                yield from batch.to_pylist()


@dataclass(frozen=True, slots=True)
class Run:
    """An output folder. The columns are told in the README, and by `quire.tables.schema`."""

    folder: Folder

    @property
    def pages(self) -> Rows:
        """One row a page that was converted, in the order of the plan; none of what was planned again since."""
        return Rows(lambda columns: _pages(self.folder, columns), PAGES)

    @property
    def documents(self) -> Rows:
        """One row a document that is finished, with its text; also those that could not be read, with the reason."""
        return Rows(lambda columns: _documents(self.folder, columns), DOCUMENTS)

    @property
    def live_documents(self) -> Rows:
        """One row a document with a text that the sources still hold, with the `uri` that it has there. Where no night
        says what is live (`quire nightly`), that is all of them."""
        return Rows(lambda columns: _live(self.folder, columns, live_documents, _texts), _with_uri(DOCUMENTS))

    @property
    def live_pages(self) -> Rows:
        """One row a page of `live_documents`, likewise with a `uri`."""
        return Rows(lambda columns: _live(self.folder, columns, live_pages, _pages), _with_uri(PAGES))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the results follow from, as "section.key" → value."""
        found: dict[str, Any] = read(self.folder)["settings"]
        return found

    def account(self) -> Account:
        """The ledger: what was planned against what is written. Reads the whole plan, and columns of all pages."""
        return take_account(self.folder)


def open_run(output: str | Path, **settings: Unpack[Keywords]) -> Run:
    """The results in an output folder, on disk or in a bucket; `settings` say how to reach it, as in `convert`.
    Raises `NothingThere` where no run has written."""
    folder = open_folder(str(output), settings_from(settings).storage)
    read(folder)
    return Run(folder)


def _with_uri(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field("uri", pa.string()), *schema])


def _pages(folder: Folder, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    keys = part_keys(folder)
    replaced = Replaced(folder, keys)
    done = committed_shards(folder)
    wanted = None if columns is None else list(dict.fromkeys(["doc_id", *columns]))
    for key in keys:
        part = read_part(folder, key)
        gone = {planned.document.doc_id for planned in part if planned.ranges and replaced.has(key, planned)}
        for shard in shards_of(part):
            if shard.shard_id in done:
                table = read_columns(folder, pages_key(shard.shard_id), PAGES, wanted)
                yield _without(table, gone).select(PAGES.names if columns is None else list(columns))


def _without(table: pa.Table, doc_ids: set[str]) -> pa.Table:
    if not doc_ids:
        return table
    return table.filter(pa.array([doc_id not in doc_ids for doc_id in table["doc_id"].to_pylist()]))


def _documents(folder: Folder, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    for info in folder.list("documents/"):
        if info.key.endswith(".parquet"):
            yield read_columns(folder, info.key, DOCUMENTS, columns)


def _texts(folder: Folder, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    """The documents that have one."""
    names = DOCUMENTS.names if columns is None else list(columns)
    for table in _documents(folder, list(dict.fromkeys([*names, "page_ends"]))):
        yield table.filter(table["page_ends"].is_valid()).select(names)


def _live(
    folder: Folder,
    columns: Sequence[str] | None,
    of_nights: Callable[[Folder, Sequence[str] | None], Iterator[pa.Table]],
    of_all: Callable[[Folder, Sequence[str] | None], Iterator[pa.Table]],
) -> Iterator[pa.Table]:
    """What is live, with `uri` first."""
    own = None if columns is None else [name for name in columns if name != "uri"]
    if has_nights(folder):
        yield from of_nights(folder, own)
        return
    wanted = None if own is None else list(dict.fromkeys(["doc_id", "source_uri", *own]))
    for table in of_all(folder, wanted):
        kept = table if own is None else table.select(list(dict.fromkeys(["doc_id", *own])))
        yield kept.add_column(0, "uri", table["source_uri"])
