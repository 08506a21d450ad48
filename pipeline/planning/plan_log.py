"""The plan as a log in the output folder: `plan/part-000000.parquet`, `…000001…`, each written once and whole.

One row is a document with its page ranges and the shards that they belong to. Knows nothing of how documents are
planned (see `plan.py`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quire.errors import DamagedResults
from quire.records import Document, DocumentStatus, PageRange, Shard
from quire.storage import Folder
from quire.tables.parquet import put_once, read_metadata, read_rows, to_parquet
from quire.tables.schema import PLAN, metadata_rows

_PART_KEY = re.compile(r"plan/part-(\d{6,})\.parquet")
_TOTALS = "quire.totals"
CONVERTED = (DocumentStatus.OK, DocumentStatus.TRUNCATED, DocumentStatus.PARTIAL)


@dataclass(frozen=True, slots=True)
class Planned:
    """A document and where its pages go: (shard_id, start, stop), none for a document without pages.

    `is_again`: it replaces all earlier rows of the log for this object (URI and etag) or these bytes.
    """

    document: Document
    ranges: tuple[tuple[str, int, int], ...] = ()
    is_again: bool = False

    @property
    def shard_ids(self) -> tuple[str, ...]:
        """Its shards, in order."""
        return tuple(dict.fromkeys(shard_id for shard_id, _, _ in self.ranges))

    @property
    def page_indices(self) -> list[int]:
        """Its pages that are planned, in order."""
        return [index for _, start, stop in self.ranges for index in range(start, stop)]


@dataclass(frozen=True, slots=True)
class PartTotals:
    """The totals of one part. `documents`: their number by status."""

    documents: Mapping[str, int]
    num_pages: int
    num_bytes: int
    num_shards: int
    num_again: int = 0


class Replaced:
    """What later parts of the plan have replaced. Memory grows with what was planned again."""

    def __init__(self, folder: Folder, keys: Sequence[str]) -> None:
        self._objects: dict[tuple[str, str], int] = {}  # the last part that has it again
        self._contents: dict[str, int] = {}
        for key in keys:
            if read_totals(folder, key).num_again:
                self._add(part_number(key), read_part(folder, key))

    @property
    def doc_ids(self) -> frozenset[str]:
        """Of documents whose pages were planned again."""
        return frozenset(self._contents)

    @property
    def objects(self) -> frozenset[tuple[str, str]]:
        """URI and etag of objects that were probed again, with another result."""
        return frozenset(self._objects)

    def has(self, key: str, planned: Planned) -> bool:
        """Whether this document of the part with this key no longer counts."""
        document = planned.document
        last = self._objects.get((document.uri, document.etag), -1)
        if planned.ranges:
            last = max(last, self._contents.get(document.doc_id, -1))
        return last > part_number(key)

    def _add(self, number: int, part: Sequence[Planned]) -> None:
        for planned in part:
            if planned.is_again:
                self._objects[planned.document.uri, planned.document.etag] = number
                if planned.ranges:
                    self._contents[planned.document.doc_id] = number


def part_key(number: int) -> str:
    return f"plan/part-{number:06d}.parquet"


def part_keys(folder: Folder) -> list[str]:
    """The parts of the plan, in order. Raises `DamagedResults` if one is missing: its documents would look new, and
    would be planned and paid for again."""
    listed = {number for info in folder.list("plan/") if (number := part_number(info.key)) >= 0}
    keys = [part_key(number) for number in range(max(listed, default=-1) + 1)]
    for number, key in enumerate(keys):
        # A listing may miss a part that was written during it: look up each number that it lacks.
        if number not in listed and not folder.exists(key):
            raise DamagedResults(
                f"{folder.uri}/{key} is missing, and later parts of the plan are there. Run again, in case that the "
                "store did not list it; or else bring it back from a copy, or convert into a new output folder"
            )
    return keys


def planned_shards(folder: Folder) -> Iterator[Shard]:
    """Every shard of the plan, part by part, in order."""
    for key in part_keys(folder):
        yield from shards_of(read_part(folder, key))


def read_part(folder: Folder, key: str) -> list[Planned]:
    return [_from_row(row) for row in read_rows(folder, key)]


def shards_of(part: Sequence[Planned]) -> Iterator[Shard]:
    """The shards of one part, in order. A shard never spans two parts."""
    ranges: dict[str, list[PageRange]] = {}
    documents: dict[str, list[Document]] = {}
    for planned in part:
        for shard_id, start, stop in planned.ranges:
            ranges.setdefault(shard_id, []).append(planned.document.pages(start, stop))
        if len(planned.shard_ids) == 1:
            documents.setdefault(planned.shard_ids[0], []).append(planned.document)
    for shard_id, members in ranges.items():
        yield Shard(shard_id, tuple(members), tuple(documents.get(shard_id, ())))


def append_part(folder: Folder, number: int, part: Sequence[Planned]) -> bool:
    """Write a part under its number; False if another planner has used the number for another part."""
    schema = PLAN.with_metadata({**PLAN.metadata, _TOTALS: json.dumps(asdict(_totals(part)))})
    return put_once(folder, part_key(number), to_parquet(map(_to_row, part), schema))


def read_totals(folder: Folder, key: str) -> PartTotals:
    """Reads only the end of the file; parts that were written before version 2 are read in full."""
    told = read_metadata(folder, key).get(_TOTALS)
    return PartTotals(**json.loads(told)) if told else _totals(read_part(folder, key))


def _totals(part: Sequence[Planned]) -> PartTotals:
    return PartTotals(
        documents=dict(Counter(planned.document.status.value for planned in part)),
        num_pages=sum(stop - start for planned in part for _, start, stop in planned.ranges),
        num_bytes=sum(planned.document.size_bytes for planned in part),
        num_shards=len({shard_id for planned in part for shard_id, _, _ in planned.ranges}),
        num_again=sum(planned.is_again for planned in part),
    )


def part_number(key: str) -> int:
    """-1 if the key is not that of a part."""
    match = _PART_KEY.fullmatch(key)
    return int(match[1]) if match else -1


def _to_row(planned: Planned) -> dict[str, object]:
    document = planned.document
    return {
        "uri": document.uri,
        "etag": document.etag,
        "size_bytes": document.size_bytes,
        "doc_id": document.doc_id,
        "media_type": document.media_type,
        "num_pages": document.num_pages,
        "status": document.status.value,
        "detail": document.detail,
        "output_name": document.output_name,
        "duplicate_of": document.duplicate_of,
        "metadata": metadata_rows(document.metadata),
        "ranges": [{"shard_id": s, "start": start, "stop": stop} for s, start, stop in planned.ranges],
        "is_again": planned.is_again,
    }


def _from_row(row: dict[str, Any]) -> Planned:
    ranges = tuple((r["shard_id"], r["start"], r["stop"]) for r in row.pop("ranges"))
    status, metadata = DocumentStatus(row.pop("status")), tuple(map(_named_value, row.pop("metadata")))
    is_again = row.pop("is_again", False)  # no column before version 2
    return Planned(Document(status=status, metadata=metadata, **row), ranges, is_again)


def _named_value(entry: dict[str, str] | tuple[str, str]) -> tuple[str, str]:
    """Already a pair in a plan of version 1, whose column `metadata` is a map."""
    return (entry["name"], entry["value"]) if isinstance(entry, dict) else entry
