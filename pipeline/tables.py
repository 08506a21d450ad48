"""Parquet files in a folder: rows to bytes, and columns back. Knows no table in particular (see `schema.py`)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.storage import Folder


def to_parquet(rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> bytes:
    """Rows as the bytes of a Parquet file; the same rows give the same bytes."""
    return table_to_parquet(pa.Table.from_pylist(list(rows), schema=schema))


def table_to_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_table(folder: Folder, key: str) -> pa.Table:
    """The whole table."""
    return _read(pa.BufferReader(folder.get(key)))


def read_rows(
    folder: Folder, key: str, columns: list[str] | None = None, doc_id: str | None = None
) -> list[dict[str, Any]]:
    """Rows of one file as dictionaries: all of them, or those of one document. Fetches only what it needs. A column
    that an older version did not write is None."""
    source = _ranged_file(folder, key) if columns else pa.BufferReader(folder.get(key))
    table = _read(source, {*columns, "doc_id"} if columns and doc_id else columns)
    if doc_id:
        table = table.filter(pc.equal(table["doc_id"], doc_id))
    rows: list[dict[str, Any]] = table.to_pylist()
    return [{name: row.get(name) for name in columns} for row in rows] if columns else rows


def _read(source: Any, columns: Iterable[str] | None = None) -> pa.Table:
    """In this thread alone: a thread of Arrow's that still has a Python object in hand when the interpreter ends takes
    the process down with a signal, after its work is done. Reading ahead (`pre_buffer`) is done by such threads, even
    where `use_threads` is false."""
    return pq.ParquetFile(source, pre_buffer=False).read(list(columns) if columns else None, use_threads=False)


_READ_AHEAD_BYTES = 64 << 10  # columns side by side come in one request; those after a column of texts in another


def _ranged_file(folder: Folder, key: str) -> io.BufferedReader:
    """An object as a file that fetches only what is read of it: a few columns of a table are a small part."""
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
