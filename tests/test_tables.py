"""Tables through a folder: same rows same bytes, and a few columns do not cost the whole file."""

from random import Random
from typing import Any

import pyarrow as pa

from pipeline.storage import Folder
from pipeline.tables import read_rows, to_parquet

SCHEMA = pa.schema([("doc_id", pa.string()), ("page_index", pa.int32()), ("markdown", pa.string())])
ROWS: list[dict[str, Any]] = [
    {"doc_id": "ab"[i % 2], "page_index": i, "markdown": Random(i).randbytes(2000).hex()} for i in range(200)
]


class Counting:
    """A folder that counts the bytes it gives out."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.num_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder, name)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        data = self._folder.get_range(key, start, length)
        self.num_bytes += len(data)
        return data


def test_rows_survive_and_the_same_rows_give_the_same_bytes(folder: Folder) -> None:
    data = to_parquet(ROWS, SCHEMA)
    assert data == to_parquet(iter(ROWS), SCHEMA)
    folder.put("pages/a.parquet", data)
    assert read_rows(folder, "pages/a.parquet") == ROWS


def test_a_few_columns_of_one_document(folder: Folder) -> None:
    data = to_parquet(ROWS, SCHEMA)
    folder.put("pages/a.parquet", data)
    counting: Any = Counting(folder)
    rows = read_rows(counting, "pages/a.parquet", ["page_index"], doc_id="b")
    assert rows == [{"page_index": i} for i in range(1, 200, 2)]
    assert 0 < counting.num_bytes < len(data) / 2


def test_ranges(folder: Folder) -> None:
    folder.put("a", b"0123456789")
    assert folder.get_range("a", 2, 3) == b"234"
    assert folder.get_range("a", 9, 1) == b"9"
