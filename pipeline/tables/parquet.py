"""Parquet files in a folder: rows to bytes, and columns back. Knows no columns in particular (see `schema.py`).

Pages of a file have checksums, which are verified when they are read. A damaged file raises `DamagedResults`.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quire.errors import DamagedResults
from quire.storage import Folder
from quire.tables.schema import LATER_COLUMNS

Item = TypeVar("Item")
Found = TypeVar("Found")

_NUM_READERS = 8


def to_parquet(rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> bytes:
    """Rows as the bytes of a Parquet file; the same rows give the same bytes."""
    return table_to_parquet(pa.Table.from_pylist(list(rows), schema=schema))


def table_to_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def put_once(folder: Folder, key: str, data: bytes) -> bool:
    """Write a file that is written only once. True if the key now holds these bytes, False if it holds others.

    "It exists" may be the store's answer to this call's own write, if the first answer was lost
    (`Folder.put_if_absent`): only the bytes tell. Equal bytes of another run count as ours.
    """
    return folder.put_if_absent(key, data) or folder.get(key) == data


def read_table(folder: Folder, key: str) -> pa.Table:
    """The whole table."""
    source = pa.BufferReader(folder.get(key))
    with _damage_named(folder, key):
        return _read(source)


def read_columns(folder: Folder, key: str, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of one file (default: all), in this version's schema, also if an older version wrote the file: a column
    that it lacks is null. Fetches only what it needs. Raises KeyError for a column that the schema lacks."""
    fields = [schema.field(name) for name in (schema.names if columns is None else columns)]
    source = _ranged_file(folder, key) if columns is not None else pa.BufferReader(folder.get(key))
    with _damage_named(folder, key):
        there = set(_open(source).schema_arrow.names)
        source.seek(0)
        table = _read(source, [field.name for field in fields if field.name in there])
        arrays = [
            _as_type(table[field.name], field.type) if field.name in there else pa.nulls(len(table), field.type)
            for field in fields
        ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=schema.metadata))


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_map(column.type):  # of version 1; some readers cannot read maps
        rows = [
            None if row is None else [{"name": name, "value": value} for name, value in row]
            for row in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(rows, wanted)])
    return column if column.type == wanted else column.cast(wanted)


def read_metadata(folder: Folder, key: str) -> dict[str, str]:
    """The metadata of a file's schema. Fetches only the end of the file."""
    source = _ranged_file(folder, key)
    with _damage_named(folder, key):
        found = _open(source).schema_arrow.metadata or {}
    return {name.decode(): value.decode() for name, value in found.items()}


def num_rows(folder: Folder, key: str) -> int:
    """Of one file. Fetches only its end."""
    source = _ranged_file(folder, key)
    with _damage_named(folder, key):
        return int(_open(source).metadata.num_rows)


def read_rows(
    folder: Folder, key: str, columns: list[str] | None = None, doc_id: str | None = None
) -> list[dict[str, Any]]:
    """Rows of one file as dictionaries: all of them, or those of one document. Fetches only what it needs. A column
    that an older version did not write is None."""
    source = _ranged_file(folder, key) if columns else pa.BufferReader(folder.get(key))
    with _damage_named(folder, key):
        table = _read(source, {*columns, "doc_id"} if columns and doc_id else columns)
        if doc_id:
            table = table.filter(pc.equal(table["doc_id"], doc_id))
        for name in LATER_COLUMNS.intersection(columns or ()).difference(table.column_names):
            table = table.append_column(name, pa.nulls(len(table)))
        rows: list[dict[str, Any]] = (table.select(columns) if columns else table).to_pylist()
    return rows


def read_many(read: Callable[[Item], Found], items: Iterable[Item]) -> Iterator[tuple[Item, Found]]:
    """Each item with the result of `read`, in order. Reads several at a time, in threads; only a few results are in
    memory beside the one yielded."""
    waiting: deque[tuple[Item, Future[Found]]] = deque()
    with ThreadPoolExecutor(_NUM_READERS) as readers:
        for item in items:
            waiting.append((item, readers.submit(read, item)))
            if len(waiting) > _NUM_READERS:
                first, found = waiting.popleft()
                yield first, found.result()
        while waiting:
            first, found = waiting.popleft()
            yield first, found.result()


@contextmanager
def _damage_named(folder: Folder, key: str) -> Generator[None]:
    """Turns Arrow's errors about bytes that are no table, or a wrong one, into `DamagedResults`."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError) as exc:
        remedy = _REMEDIES.get(key.partition("/")[0], _MADE_ANEW)
        raise DamagedResults(f"{folder.uri}/{key} is damaged: {remedy} ({_first_line(exc)})") from exc


_MADE_ANEW = "delete this file alone and run again, which makes it anew; or bring it back from a copy"
_REMEDIES = {
    "plan": "bring it back from a copy, or convert into a new output folder",
    "timings": "delete this file, which nothing but the report reads; or bring it back from a copy",
}


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0][:200]


def _read(source: Any, columns: Iterable[str] | None = None) -> pa.Table:
    """Read in this thread only. If a thread of Arrow still holds a Python object when the interpreter ends, the process
    dies of a signal, after its work is done. Such threads also read ahead (`pre_buffer`), even if `use_threads` is
    false."""
    return _open(source).read(list(columns) if columns else None, use_threads=False)


def _open(source: Any) -> pq.ParquetFile:
    return pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)


_READ_AHEAD_BYTES = 64 << 10  # adjacent columns come in one request; those after a column of texts in another


def _ranged_file(folder: Folder, key: str) -> io.BufferedReader:
    """An object as a file that fetches only the parts that are read: a few columns are a small part of a table."""
    return io.BufferedReader(_RangedFile(folder, key), _READ_AHEAD_BYTES)


class _RangedFile(io.RawIOBase):
    """Each read is a request."""

    def __init__(self, folder: Folder, key: str) -> None:
        self._folder, self._key = folder, key
        self._size_bytes = folder.info(key).size_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        length = min(len(view), self._size_bytes - self._position)
        if length <= 0:
            return 0
        view[:length] = self._folder.get_range(self._key, self._position, length)
        self._position += length
        return length
