"""The log of nights in an output folder: `nights/night-000001.parquet`, `-000002`, …, each written once and whole.

A night has one row a live object, and one with `change` "deleted" (a tombstone) for each object that was deleted since
the night before. So the newest night is the whole state, and older ones may be deleted. The name of the next night can
be taken only once. A run reads the newest night *before* it lists, and may record only the number after that one: a
listing never replaces a newer one, and no lock is needed.

Does not know what makes a night; see `changes.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from quire.storage import Folder
from quire.tables.parquet import put_once, read_table, table_to_parquet
from quire.tables.schema import NIGHTS

_KEY = re.compile(r"nights/night-(\d{6,})\.parquet")


@dataclass(frozen=True, slots=True)
class Night:
    """Rows of the table `nights`. Number 0 is the empty state before the first night."""

    number: int
    table: pa.Table

    @property
    def live(self) -> pa.Table:
        return self.table.filter(pc.not_equal(self.table["change"], "deleted"))

    @property
    def changes(self) -> pa.Table:
        """The rows of what changed in this night."""
        return self.table.filter(pc.not_equal(self.table["change"], ""))


def latest_night(folder: Folder) -> Night:
    numbers = [int(match[1]) for info in folder.list("nights/") if (match := _KEY.fullmatch(info.key))]
    if not numbers:
        return Night(0, NIGHTS.empty_table())
    return Night(max(numbers), read_table(folder, night_key(max(numbers))))


def has_nights(folder: Folder) -> bool:
    return any(_KEY.fullmatch(info.key) for info in folder.list("nights/"))


def commit_night(folder: Folder, night: Night) -> bool:
    """Record a night. False if another run has used its number for another night, which is then the valid one."""
    return put_once(folder, night_key(night.number), table_to_parquet(night.table))


def night_key(number: int, suffix: str = "parquet") -> str:
    return f"nights/night-{number:06d}.{suffix}"
