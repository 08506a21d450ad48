"""What changed objects hold, and how their pages ended: from the plan and the pages of a finished run.

Objects with the same bytes share their results: the plan calls the later ones duplicates, and content is found by its
sha256. Content may be planned more than once, if its bytes were gone or on a retry (`Account.lost`); the last time
counts. Memory grows with what is looked up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quire.nights.changes import Content
from quire.planning.plan_log import CONVERTED, Planned, read_part
from quire.records import DocumentRef, DocumentStatus
from quire.results.finish import documents_name
from quire.storage import Folder
from quire.tables.keys import documents_key, pages_key
from quire.tables.parquet import read_many, read_rows

_COLUMNS = ["doc_id", "outcome", "failure", "marks", "num_output_tokens"]


@dataclass(slots=True)
class PageCounts:
    """The outcomes of one content's pages. `failures`: failed pages, by kind; `num_doubtful`: pages with marks."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    num_tokens: int = 0
    num_doubtful: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """`contents` and `unreadable` (the reason) are by URI, `pages` by doc_id. `lost`: URIs whose bytes were gone or
    changed after they were planned. They are also in `unreadable`, and may be planned again."""

    contents: Mapping[str, Content]
    unreadable: Mapping[str, str]
    lost: Sequence[str]
    pages: Mapping[str, PageCounts]


def look_up(
    folder: Folder, parts: Sequence[str], refs: Iterable[DocumentRef], lost: Collection[tuple[str, str]]
) -> Found:
    """What these objects hold. `parts`: keys of the parts of the plan that have them, each wholly converted; `lost`:
    `Account.lost`."""
    by_uri = _planned_objects(folder, parts, {(ref.uri, ref.etag) for ref in refs})
    by_content = _planned_contents(folder, parts, {planned.document.doc_id for _, planned in by_uri.values()})
    unreadable: dict[str, str] = {}
    lost_uris: list[str] = []
    sources: dict[str, tuple[str, Planned]] = {}
    for uri, (part, planned) in by_uri.items():
        document = planned.document
        if document.status in (*CONVERTED, DocumentStatus.DUPLICATE) and document.num_pages:
            part, planned = by_content[document.doc_id]
        if document.status is DocumentStatus.UNREADABLE:
            unreadable[uri] = document.detail
        elif any((shard_id, document.doc_id) in lost for shard_id in planned.shard_ids):
            unreadable[uri] = "its bytes went or changed while they were being read"
            lost_uris.append(uri)
        else:
            sources[uri] = (part, planned)
    pages = _count_pages(folder, [planned for _, planned in sources.values()])
    contents = {uri: _content(part, planned, pages) for uri, (part, planned) in sources.items()}
    return Found(contents, unreadable, lost_uris, pages)


def _planned_objects(
    folder: Folder, parts: Sequence[str], wanted: Collection[tuple[str, str]]
) -> dict[str, tuple[str, Planned]]:
    """The last row of the plan for each object, with the key of its part, by URI."""
    if not wanted:
        return {}
    return {
        planned.document.uri: (part, planned)
        for part, planned in _plan(folder, parts)
        if (planned.document.uri, planned.document.etag) in wanted
    }


def _planned_contents(
    folder: Folder, parts: Sequence[str], wanted: Collection[str]
) -> dict[str, tuple[str, Planned]]:
    """For each doc_id the last document with planned pages, and the key of its part."""
    if not wanted:
        return {}
    return {
        planned.document.doc_id: (part, planned)
        for part, planned in _plan(folder, parts)
        if (planned.ranges or planned.document.status is DocumentStatus.PARTIAL)
        and planned.document.doc_id in wanted
    }


def _plan(folder: Folder, parts: Sequence[str]) -> Iterator[tuple[str, Planned]]:
    return ((part, planned) for part in parts for planned in read_part(folder, part))


def _count_pages(folder: Folder, contents: Iterable[Planned]) -> dict[str, PageCounts]:
    """By doc_id. Reads each file once, a few columns of it."""
    documents: dict[str, set[str]] = {}
    for planned in contents:
        for shard_id in planned.shard_ids:
            documents.setdefault(shard_id, set()).add(planned.document.doc_id)

    def read(shard_id: str) -> list[dict[str, Any]]:
        return read_rows(folder, pages_key(shard_id), _COLUMNS)

    counts: dict[str, PageCounts] = {}
    for shard_id, rows in read_many(read, documents):
        for row in rows:
            if row["doc_id"] in documents[shard_id]:
                _count(row, counts.setdefault(row["doc_id"], PageCounts()))
    return counts


def _count(row: Mapping[str, Any], counts: PageCounts) -> None:
    counts.outcomes[row["outcome"]] += 1
    counts.num_tokens += row["num_output_tokens"]
    counts.num_doubtful += bool(row["marks"])
    if row["failure"]:
        counts.failures[row["failure"]["kind"]] += 1


def _content(part: str, planned: Planned, pages: Mapping[str, PageCounts]) -> Content:
    document = planned.document
    return Content(
        doc_id=document.doc_id,
        status=document.status.value,
        detail=document.detail,
        num_pages=document.num_pages,
        num_failed=pages[document.doc_id].outcomes["failed"] if planned.ranges else 0,
        name=document.output_name,
        documents_file=documents_key(documents_name(part, planned)),
        pages_files=tuple(map(pages_key, planned.shard_ids)),
    )
