"""Tables through a folder: same rows same bytes, and a few columns do not cost the whole file."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from quire.config.sections import StorageSettings
from quire.errors import DamagedResults
from quire.storage import Folder, open_folder
from quire.tables.parquet import read_many, read_rows, read_table, to_parquet
from tests.waiting import BOUND_S

SCHEMA = pa.schema([("doc_id", pa.string()), ("page_index", pa.int32()), ("markdown", pa.string())])
ROWS: list[dict[str, Any]] = [
    {"doc_id": "ab"[i % 2], "page_index": i, "markdown": Random(i).randbytes(2000).hex()} for i in range(200)
]


class Counting:
    """A folder that counts the bytes it gives out, and the times."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.num_bytes = self.num_requests = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder, name)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        data = self._folder.get_range(key, start, length)
        self.num_bytes += len(data)
        self.num_requests += 1
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


def _flipped(data: bytes) -> bytes:
    """One bit of a column's pages is another."""
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: bytes(len(data)),
        lambda data: data[:-20] + bytes(20),
        lambda data: data[:4] + bytes(len(data) // 2) + data[4 + len(data) // 2 :],
        _flipped,
        lambda data: to_parquet([{"another": 1}], pa.schema([("another", pa.int32())])),
    ],
    ids=["empty", "cut", "zeros", "no end", "zeros within", "a bit", "another table"],
)
def test_a_damaged_file_is_named_with_what_to_do(folder: Folder, damage: Callable[[bytes], bytes]) -> None:
    folder.put("pages/a.parquet", damage(to_parquet(ROWS, SCHEMA)))
    folder.put("plan/part-000000.parquet", folder.get("pages/a.parquet"))
    for key, remedy in {
        "pages/a.parquet": "delete this file alone",
        "plan/part-000000.parquet": "a new output",
    }.items():
        with pytest.raises(DamagedResults, match=rf"{key} is damaged: .*{remedy}") as caught:
            read_rows(folder, key, ["page_index", "markdown"], doc_id="b")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_rows, read_table])
def test_damage_is_noticed_where_all_is_read(folder: Folder, read: Callable[[Folder, str], Any]) -> None:
    folder.put("nights/a.parquet", _flipped(to_parquet(ROWS, SCHEMA)))
    with pytest.raises(DamagedResults, match="nights/a.parquet is damaged"):
        read(folder, "nights/a.parquet")


def test_columns_side_by_side_cost_few_requests(tmp_path: Path) -> None:
    schema = pa.schema([*SCHEMA, *((f"number_{i}", pa.int64()) for i in range(20))])
    rows = [{**row, **{f"number_{i}": i for i in range(20)}} for row in ROWS]
    folder = open_folder(str(tmp_path), StorageSettings())
    folder.put("pages/a.parquet", to_parquet(rows, schema))
    counting: Any = Counting(folder)
    columns = [name for name in schema.names if name != "markdown"]
    assert read_rows(counting, "pages/a.parquet", columns) == [
        {name: row[name] for name in columns} for row in rows
    ]
    assert counting.num_requests <= 4


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_reading_starts_no_thread(tmp_path: Path) -> None:
    """One that is at work when the interpreter ends would take the process down."""
    open_folder(str(tmp_path), StorageSettings()).put("pages/a.parquet", to_parquet(ROWS, SCHEMA))
    program = f"""
import os
from quire.config.sections import StorageSettings
from quire.storage import open_folder
from quire.tables.parquet import read_rows, read_table

before = len(os.listdir("/proc/self/task"))
folder = open_folder({str(tmp_path)!r}, StorageSettings())
assert read_table(folder, "pages/a.parquet").num_rows == 200
assert len(read_rows(folder, "pages/a.parquet", ["page_index"], "a")) == 100
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=BOUND_S
    )
    assert done.stdout.strip() == "0"


def test_many_are_read_side_by_side_in_order_and_only_a_few_ahead() -> None:
    """What is read is megabytes, and there may be a million of them."""
    both_read, begun = threading.Barrier(2), list[int]()

    def read(number: int) -> int:
        begun.append(number)
        if number < 2:
            both_read.wait(BOUND_S)  # each for the other
        return -number

    found = read_many(read, range(100))
    assert [next(found) for _ in range(3)] == [(0, 0), (1, -1), (2, -2)]
    assert max(begun) < 20
    assert list(found) == [(number, -number) for number in range(3, 100)]


def test_ranges(folder: Folder) -> None:
    folder.put("a", b"0123456789")
    assert folder.get_range("a", 2, 3) == b"234"
    assert folder.get_range("a", 9, 1) == b"9"
