"""What a plan already holds, as far as planning more has to know it.

Knows only the log: neither how objects are probed, nor how shards are cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import replace

from quire.planning.naming import collision_key, with_suffix_of
from quire.planning.plan_log import CONVERTED, Planned, part_keys, part_number, read_part
from quire.records import Document, DocumentRef, DocumentStatus
from quire.storage import Folder


class PlanIndex:
    """What a plan already holds: digests of 16 bytes, and for each content the URI of its first document. About 450
    bytes of memory a document.

    `retry`: the statuses after which the same object is probed again: `unreadable` always, `encrypted` if there are
    passwords now. `lost`: (shard_id, doc_id) of documents whose pages are to be planned again (`Account.lost`). They
    and the duplicates of their content count as never planned.
    """

    def __init__(
        self,
        retry: Collection[DocumentStatus] = (DocumentStatus.UNREADABLE,),
        lost: Collection[tuple[str, str]] = (),
    ) -> None:
        self.next_part = 0
        self.retry = frozenset(retry)
        self.lost = frozenset(lost)
        self.has_read = False  # whether any document's bytes were ever seen
        self._shard_ids: set[str] = set()
        self._objects: set[bytes] = set()
        self._to_retry: dict[bytes, DocumentStatus] = {}
        self._uri_of_content: dict[bytes, str] = {}
        self._seen_again: set[bytes] = set()  # objects and contents in the log that are probed, or planned, again
        self._lost_duplicates: set[bytes] = set()
        self._lost_originals: set[bytes] = set()
        self._owner_of_name: dict[bytes, bytes] = {}

    def knows(self, ref: DocumentRef) -> bool:
        """Whether this object is planned and need not be probed again."""
        key = _digest(ref.uri, ref.etag)
        return key in self._objects and key not in self._to_retry

    def is_news(self, document: Document) -> bool:
        key = _digest(document.uri, document.etag)
        is_lost = key in self._lost_originals or key in self._lost_duplicates
        if is_lost and not _has_pages(document):
            return False  # what was read of it stays, even if it cannot be read now
        if key in self._to_retry:
            return document.status is not self._to_retry[key]
        if key in self._lost_duplicates and _content(document) in self._uri_of_content:
            return False  # a duplicate of what is planned again; its row already says so
        return key not in self._objects

    def absorb(self, part_number: int, part: Iterable[Planned]) -> None:
        self.next_part = max(self.next_part, part_number + 1)
        for planned in part:
            self._shard_ids.update(shard_id for shard_id, _, _ in planned.ranges)
            self._take_name(planned.document)
            if self._is_lost(planned):
                self._forget(planned.document)
            else:
                self._add(planned.document)

    def without_plan(self, shard_ids: Collection[str]) -> set[str]:
        """Those of these shards that no part has planned."""
        return set(shard_ids) - self._shard_ids

    def holds_shard_of(self, part: Iterable[Planned]) -> bool:
        """Whether a shard of this name is already planned. Then these pages were lost once and are planned again."""
        return any(shard_id in self._shard_ids for planned in part for shard_id, _, _ in planned.ranges)

    def is_again(self, document: Document) -> bool:
        """Whether the log already has this object, or these bytes, and they were to be probed again. Ask before
        `place`."""
        if _digest(document.uri, document.etag) in self._seen_again:
            return True
        content = _content(document)
        return content in self._seen_again and content not in self._uri_of_content

    def place(self, document: Document) -> Document:
        """Decide what depends on earlier documents: whether it is a duplicate, and the name of its results. After that
        the document counts as known."""
        first_uri = self._uri_of_content.get(_content(document)) if document.doc_id else None
        if first_uri is not None and document.num_pages > 0:
            document = replace(document, status=DocumentStatus.DUPLICATE, duplicate_of=first_uri)
        document = replace(document, output_name=self._free_name(document))
        self._take_name(document)
        self._add(document)
        return document

    def _is_lost(self, planned: Planned) -> bool:
        document = planned.document
        if document.status is DocumentStatus.DUPLICATE:  # its original comes before it in the log
            return _content(document) not in self._uri_of_content
        return any((shard_id, document.doc_id) in self.lost for shard_id, _, _ in planned.ranges)

    def _forget(self, document: Document) -> None:
        key = _digest(document.uri, document.etag)
        self._objects.discard(key)
        self._to_retry.pop(key, None)
        self._seen_again.add(key)
        if document.status is DocumentStatus.DUPLICATE:
            self._lost_duplicates.add(key)
        else:
            self._lost_originals.add(key)
            self._uri_of_content.pop(_content(document), None)
            self._seen_again.add(_content(document))

    def _free_name(self, document: Document) -> str:
        owner = _digest(document.uri)
        name, attempt = document.output_name, 0
        while self._owner_of_name.get(_digest(collision_key(name)), owner) != owner:
            name, attempt = with_suffix_of(document.output_name, document.uri, attempt), attempt + 1
        return name

    def _add(self, document: Document) -> None:
        key = _digest(document.uri, document.etag)
        self._objects.add(key)
        self._lost_originals.discard(key)
        self.has_read |= was_read(document)
        if document.status in self.retry and not _has_pages(document):
            self._to_retry[key] = document.status
            self._seen_again.add(key)
        else:
            self._to_retry.pop(key, None)
        if document.status in CONVERTED and document.doc_id:
            self._uri_of_content.setdefault(_content(document), document.uri)

    def _take_name(self, document: Document) -> None:
        self._owner_of_name.setdefault(_digest(collision_key(document.output_name)), _digest(document.uri))


def load_index(
    folder: Folder,
    retry: Collection[DocumentStatus] = (DocumentStatus.UNREADABLE,),
    lost: Collection[tuple[str, str]] = (),
) -> PlanIndex:
    """The index of the plan in an output folder; empty if there is none."""
    index = PlanIndex(retry, lost)
    for key in part_keys(folder):
        index.absorb(part_number(key), read_part(folder, key))
    return index


def was_read(document: Document) -> bool:
    """Whether its bytes were ever seen."""
    return bool(document.doc_id) and document.size_bytes > 0


def _has_pages(document: Document) -> bool:
    return document.status in CONVERTED and document.num_pages > 0


def _content(document: Document) -> bytes:
    return bytes.fromhex(document.doc_id)[:16]


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()[:16]
