"""The next night, from the last one, a listing, and what the listed objects hold.

A listed object whose bytes could not be read keeps its row, if it had one: it is neither new nor changed nor gone. An
object is gone if a complete listing does not show it, unless it lies in a folder that could not be listed. Memory:
about 500 bytes a live object.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from quire.nights.log import Night
from quire.records import DocumentRef, DocumentStatus
from quire.tables.schema import NIGHTS


@dataclass(frozen=True, slots=True)
class Content:
    """What an object holds, and where the results of these bytes are; columns of the table `nights`."""

    doc_id: str
    status: str
    detail: str
    num_pages: int
    num_failed: int
    name: str
    documents_file: str
    pages_files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the last night says of a live object: the columns that are compared."""

    etag: str
    doc_id: str
    status: str
    documents_file: str


def known_objects(night: Night) -> dict[str, Known]:
    """The live objects by URI."""
    live = night.live
    columns = [live[name].to_pylist() for name in ("uri", "etag", "doc_id", "status", "documents_file")]
    # Many objects share a file, so the strings of its name are shared too.
    rows = zip(*columns, strict=True)
    return {uri: Known(etag, doc_id, status, sys.intern(file)) for uri, etag, doc_id, status, file in rows}


def unknown_refs(
    known: Mapping[str, Known],
    listing: Mapping[str, DocumentRef],
    retry: Collection[DocumentStatus],
    bytes_again: Collection[str] = (),
    objects_again: Collection[tuple[str, str]] = (),
) -> Iterator[DocumentRef]:
    """The listed objects to look up: those that are new or have another etag, whose status is in `retry`, or which
    were planned again, or their bytes (see `Account`)."""
    for ref in listing.values():
        before = known.get(ref.uri)
        if (
            before is None
            or before.etag != ref.etag
            or before.status in retry
            or before.doc_id in bytes_again
            or (ref.uri, ref.etag) in objects_again
        ):
            yield ref


def gone_objects(known: Mapping[str, Known], listing: Mapping[str, DocumentRef]) -> set[str]:
    """URIs of objects that were live and are not listed. `listing`: a complete one, by URI."""
    closed_folders = tuple(f"{ref.uri}/" for ref in listing.values() if not ref.etag)
    return {uri for uri in known.keys() - listing.keys() if not uri.startswith(closed_folders)}


def next_night(
    night: Night,
    known: Mapping[str, Known],
    listing: Mapping[str, DocumentRef],
    found: Mapping[str, Content],
) -> Night | None:
    """The state after this night, or None if nothing has changed.

    `known`: the objects of `night`. `listing`: a complete one, by URI. `found`: what the `unknown_refs` hold, by URI,
    without those whose bytes could not be read.
    """
    number, gone = night.number + 1, gone_objects(known, listing)
    news = [{**row, "night": number} for row in _news(known, listing, found, gone)]
    if not news and not gone:
        return None
    changed = {row["uri"] for row in news}
    live = night.live
    uris = live["uri"].to_pylist()
    is_kept = pa.array([uri not in gone and uri not in changed for uri in uris], pa.bool_())
    is_gone = pa.array([uri in gone for uri in uris], pa.bool_())
    tables = [
        _filled(live.filter(is_kept), change="", renamed_from=""),
        pa.Table.from_pylist(news, schema=NIGHTS),
        _filled(live.filter(is_gone), change="deleted", renamed_from="", night=number),
    ]
    return Night(number, pa.concat_tables(tables))


def _news(
    known: Mapping[str, Known],
    listing: Mapping[str, DocumentRef],
    found: Mapping[str, Content],
    gone: Collection[str],
) -> Iterator[dict[str, Any]]:
    """The rows of live objects that are new or changed."""
    homeless: dict[str, list[str]] = {}  # URIs that are gone, by the doc_id of what they held
    for uri in sorted(gone, reverse=True):
        if known[uri].doc_id:
            homeless.setdefault(known[uri].doc_id, []).append(uri)
    for uri in sorted(found):
        ref, content = listing[uri], found[uri]
        change, renamed_from = _change(known.get(uri), ref, content), ""
        if change == "added" and homeless.get(content.doc_id):
            change, renamed_from = "renamed", homeless[content.doc_id].pop()
        if change:
            row = {"uri": uri, "etag": ref.etag, "size_bytes": ref.size_bytes, **asdict(content)}
            yield {**row, "change": change, "renamed_from": renamed_from}


def _change(before: Known | None, ref: DocumentRef, content: Content) -> str:
    """What happened to an object; empty if nothing did."""
    if before is None:
        return "added"
    is_touched = ref.etag != before.etag
    if content.doc_id != before.doc_id or (is_touched and not content.doc_id):
        return "edited"
    if content.status != before.status:
        return "opened"
    if content.pages_files and content.documents_file != before.documents_file:
        return "retried"
    return "touched" if is_touched else ""


def _filled(table: pa.Table, **values: object) -> pa.Table:
    """The table with these columns set to one value each."""
    for name, value in values.items():
        field, index = NIGHTS.field(name), NIGHTS.get_field_index(name)
        table = table.set_column(index, field, pa.repeat(pa.scalar(value, field.type), table.num_rows))
    return table
