"""Planning: references to objects in, documents and shards out. Needs CPUs only.

A plan is a log in the output folder (`plan_log.py`). Planning again reads the log, skips what it knows (by URI and
etag) and appends. Two planners at once cannot plan a document twice: a part's name can be taken only once, and the one
that loses the race reads the winner's part and plans what is left.

What a shard holds follows from the order of the listing, never from timing: documents are probed side by
side and taken in the order of their references.

Does not know how objects are fetched or documents opened: `probe` does that.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from pipeline.config import PAGES_PER_SHARD, PlanSettings
from pipeline.discover.leftovers import is_leftover
from pipeline.errors import DamagedResults, StorageError
from pipeline.naming import collision_key, safe_name, with_suffix_of
from pipeline.plan_log import CONVERTED, Planned, append_part, part_keys, part_number, read_part
from pipeline.records import Document, DocumentRef, DocumentStatus
from pipeline.storage import Folder
from pipeline.write import committed_shards

_log = logging.getLogger(__name__)

_NO_DOCUMENT = (DocumentStatus.UNSUPPORTED, DocumentStatus.CORRUPT, DocumentStatus.EMPTY)


class PlanIndex:
    """What a plan already holds, as digests of 16 bytes and the URIs of the first of their content: about 450
    bytes of memory a document.

    `retry` names the statuses that are worth another look at the same object: `unreadable` always, `encrypted` when
    there are passwords now. `lost` holds (shard_id, doc_id) of documents whose pages are to be planned again
    (`Account.lost`): they count as never planned, and so do the duplicates of their content.
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
        self._seen_again: set[bytes] = (
            set()
        )  # objects and contents in the log that are looked at, or planned, again
        self._lost_duplicates: set[bytes] = set()
        self._owner_of_name: dict[bytes, bytes] = {}

    def knows(self, ref: DocumentRef) -> bool:
        """Whether this object is planned and needs no second look."""
        key = _digest(ref.uri, ref.etag)
        return key in self._objects and key not in self._to_retry

    def is_news(self, document: Document) -> bool:
        key = _digest(document.uri, document.etag)
        if key in self._to_retry:
            return document.status is not self._to_retry[key]
        if key in self._lost_duplicates and _content(document) in self._uri_of_content:
            return False  # it repeats what is planned again, as its row says already
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
        """Whether a shard of this name is planned already: these pages were lost once and are planned again."""
        return any(shard_id in self._shard_ids for planned in part for shard_id, _, _ in planned.ranges)

    def is_again(self, document: Document) -> bool:
        """Whether the log has had this object, or these bytes, and they were to be looked at again."""
        return not self._seen_again.isdisjoint((_digest(document.uri, document.etag), _content(document)))

    def place(self, document: Document) -> Document:
        """Settle what depends on the documents before it: is it a duplicate, and what are its results called?
        The document counts as known from then on."""
        first_uri = self._uri_of_content.get(_content(document)) if document.doc_id else None
        if first_uri is not None and document.num_pages > 0:
            document = replace(document, status=DocumentStatus.DUPLICATE, duplicate_of=first_uri)
        document = replace(document, output_name=self._free_name(document))
        self._take_name(document)
        self._add(document)
        return document

    def _is_lost(self, planned: Planned) -> bool:
        document = planned.document
        if document.status is DocumentStatus.DUPLICATE:  # the one that it repeats stands before it in the log
            return _content(document) not in self._uri_of_content
        return any((shard_id, document.doc_id) in self.lost for shard_id, _, _ in planned.ranges)

    def _forget(self, document: Document) -> None:
        key = _digest(document.uri, document.etag)
        self._objects.discard(key)
        self._seen_again.add(key)
        if document.status is DocumentStatus.DUPLICATE:
            self._lost_duplicates.add(key)
        else:
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
        self.has_read |= _was_read(document)
        if document.status in self.retry:
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


async def plan(
    folder: Folder,
    refs: Iterable[DocumentRef],
    probe: Callable[[DocumentRef], Awaitable[Document]],
    settings: PlanSettings,
    fingerprint: str,
    retry: Collection[DocumentStatus] = (DocumentStatus.UNREADABLE,),
    lost: Collection[tuple[str, str]] = (),
    claim: Callable[[], object] = lambda: None,
) -> AsyncIterator[list[Planned]]:
    """Append what is new among `refs` to the plan in `folder`; yields each part once it is committed.

    `probe` turns a reference into a document whose `output_name` is not settled yet. `retry`, `lost`: see
    `PlanIndex`. `claim` is called before a part is committed, to make sure that the folder is this run's.
    Memory is bounded by a part and the index. Raises `DamagedResults` if parts of the plan are gone: what they held
    would be converted twice; and `StorageError` where of several documents none can be read, and none ever could.
    """
    done = await asyncio.to_thread(
        committed_shards, folder
    )  # before the plan: a shard is planned before it is written
    index = await asyncio.to_thread(load_index, folder, retry, lost)
    if strays := index.without_plan(done):
        raise DamagedResults(
            f"{folder.uri}/pages has shards that no part of the plan names ({len(strays)}, one of them {min(strays)}): "
            "parts of the plan are gone. Bring them back from a copy, or convert into a new output folder"
        )
    pending: list[Document] = []
    async for document in _in_order(_unknown(refs, index), probe, settings.num_fetches):
        pending.append(document)
        if len(pending) == settings.documents_per_part:
            await asyncio.to_thread(claim)
            index, part = await asyncio.to_thread(_commit, folder, index, pending, settings, fingerprint)
            yield part
            pending = []
    if pending:
        await asyncio.to_thread(claim)
        _, part = await asyncio.to_thread(_commit, folder, index, pending, settings, fingerprint)
        yield part


def cut_shards(documents: Sequence[Document], pages_per_shard: int, fingerprint: str) -> list[Planned]:
    """Give every page of the documents to a shard, in order.

    A document that fits into one shard is not split; a longer one starts a shard of its own, and what is
    left over at its end shares a shard with the documents after it.
    """
    groups: list[list[tuple[int, int, int]]] = [[]]  # (position in documents, start, stop)
    room = pages_per_shard
    for position, document in enumerate(documents):
        start, num_pages = 0, document.num_pages if document.status in CONVERTED else 0
        while start < num_pages:
            left = num_pages - start
            if left > room and room < pages_per_shard:
                groups.append([])
                room = pages_per_shard
            taken = min(left, room)
            groups[-1].append((position, start, start + taken))
            start, room = start + taken, room - taken
            if room == 0:
                groups.append([])
                room = pages_per_shard
    ranges: dict[int, list[tuple[str, int, int]]] = {}
    for group in groups:
        shard_id = _shard_id([(documents[position], start, stop) for position, start, stop in group], fingerprint)
        for position, start, stop in group:
            ranges.setdefault(position, []).append((shard_id, start, stop))
    return [Planned(document, tuple(ranges.get(i, ()))) for i, document in enumerate(documents)]


def _unknown(refs: Iterable[DocumentRef], index: PlanIndex) -> Iterator[DocumentRef]:
    return (ref for ref in refs if not index.knows(ref))


async def _in_order(
    refs: Iterator[DocumentRef], probe: Callable[[DocumentRef], Awaitable[Document]], num_at_once: int
) -> AsyncIterator[Document]:
    """Probe several at a time; documents come out in the order of their references.

    The listing is read in a thread: it waits for the network.
    """
    running: deque[asyncio.Task[Document]] = deque()
    try:
        is_listing = True
        while running or is_listing:
            while is_listing and len(running) < num_at_once:
                ref = await asyncio.to_thread(next, refs, None)
                if ref is None:
                    is_listing = False
                else:
                    running.append(asyncio.get_running_loop().create_task(_named(probe, ref)))
            if running:
                yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _named(probe: Callable[[DocumentRef], Awaitable[Document]], ref: DocumentRef) -> Document:
    document = replace(await probe(ref), output_name=safe_name(ref.name))
    if document.status in _NO_DOCUMENT and is_leftover(ref.name):
        return replace(document, status=DocumentStatus.IGNORED)
    return document


def _commit(
    folder: Folder, index: PlanIndex, pending: Sequence[Document], settings: PlanSettings, fingerprint: str
) -> tuple[PlanIndex, list[Planned]]:
    """Write the next part; returns the index that includes it. If another planner took the part's name, read
    the whole log again and plan what that left over."""
    _insist_on_some(index, pending)
    while True:
        number = index.next_part
        news = [index.place(document) for document in pending if index.is_news(document)]
        if not news:
            return index, []
        pages_per_shard = settings.pages_per_shard or PAGES_PER_SHARD
        part = cut_shards(news, pages_per_shard, fingerprint)
        if index.holds_shard_of(part):
            part = cut_shards(news, pages_per_shard, f"{fingerprint} {number}")
        part = [replace(planned, is_again=index.is_again(planned.document)) for planned in part]
        if append_part(folder, number, part):
            index.next_part += 1
            _log.info("planned part %d: %d documents", number, len(part))
            return index, part
        index = load_index(folder, index.retry, index.lost)
        if index.next_part <= number:
            raise StorageError(f"{folder.uri}/plan: part {number} exists and is not listed; try again")


def _was_read(document: Document) -> bool:
    return bool(document.doc_id) and document.size_bytes > 0


def _insist_on_some(index: PlanIndex, documents: Sequence[Document]) -> None:
    """Where nothing at all can be read, the store or the folder is at fault, and no document may be blamed for it."""
    refused = [document for document in documents if document.status is DocumentStatus.UNREADABLE]
    if len(refused) > 1 and not index.has_read and not any(map(_was_read, documents)):
        raise StorageError(f"none of {len(refused)} documents can be read. The first one: {refused[0].detail}")


def _shard_id(ranges: Sequence[tuple[Document, int, int]], fingerprint: str) -> str:
    """A hash of what is in the shard and of the settings that change results."""
    digest = hashlib.sha256(fingerprint.encode())
    for document, start, stop in ranges:
        digest.update(f"\n{document.doc_id} {start} {stop} {document.uri}".encode())
    return digest.hexdigest()[:20]


def _content(document: Document) -> bytes:
    return bytes.fromhex(document.doc_id)[:16]


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()[:16]
