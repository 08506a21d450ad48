"""Planning: references to objects in, documents and shards out. Needs CPUs only.

A plan is a log in the output folder (`plan_log.py`). Planning again reads the log, skips what is in it
(`plan_index.py`) and appends. Two planners at once cannot plan a document twice: a part's name can be taken only once.
The planner that loses the race reads the winner's part and plans what is left.

What a shard holds follows from the order of the listing, never from timing: documents are probed concurrently, but
taken in the order of their references.

Does not know how objects are fetched or documents opened: `probe` does that.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from quire.config.engines import PAGES_PER_SHARD
from quire.config.page_choice import chosen, in_words
from quire.config.sections import PlanSettings
from quire.errors import DamagedResults, StorageError
from quire.planning.discover.leftovers import is_leftover
from quire.planning.naming import safe_name
from quire.planning.plan_index import PlanIndex, load_index, was_read
from quire.planning.plan_log import CONVERTED, Planned, append_part
from quire.quantities import counted
from quire.records import Document, DocumentRef, DocumentStatus
from quire.storage import Folder
from quire.tables.keys import committed_shards

_log = logging.getLogger(__name__)

_NO_DOCUMENT = (DocumentStatus.UNSUPPORTED, DocumentStatus.CORRUPT, DocumentStatus.EMPTY)


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

    `probe` turns a reference into a document whose `output_name` is not decided yet. `retry`, `lost`: see
    `PlanIndex`. `claim` is called before a part is committed, to make sure that the folder belongs to this run.
    Memory is bounded by a part and the index. Raises `DamagedResults` if parts of the plan are missing: their documents
    would be converted twice. Raises `StorageError` if none of several documents can be read, and none ever could.
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
        pending.append(_without_what_is_left_out(document, settings.pages))
        if len(pending) == settings.documents_per_part:
            await asyncio.to_thread(claim)
            index, part = await asyncio.to_thread(_commit, folder, index, pending, settings, fingerprint)
            yield part
            pending = []
    if pending:
        await asyncio.to_thread(claim)
        _, part = await asyncio.to_thread(_commit, folder, index, pending, settings, fingerprint)
        yield part


def cut_shards(
    documents: Sequence[Document], pages_per_shard: int, fingerprint: str, pages: str = ""
) -> list[Planned]:
    """Assign every page that is to be read (see `page_choice.py`) to a shard, in order.

    A document that fits into one shard is not split. A longer one starts a new shard, and its last pages share a shard
    with the documents after it.
    """
    groups: list[list[tuple[int, int, int]]] = [[]]  # (position in documents, start, stop)
    room = pages_per_shard
    for position, document in enumerate(documents):
        wanted = chosen(pages, document.num_pages) if document.status in CONVERTED else ()
        if room < pages_per_shard and sum(stop - start for start, stop in wanted) > room:
            groups.append([])
            room = pages_per_shard
        for start, stop in wanted:
            while start < stop:
                taken = min(stop - start, room)
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

    The listing is read in a thread, because it waits for the network.
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


def _without_what_is_left_out(document: Document, pages: str) -> Document:
    """The document; with the status `partial` if pages of it are not to be read, so that it never looks complete."""
    wanted = chosen(pages, document.num_pages)
    if document.status not in CONVERTED or wanted == ((0, document.num_pages),) or not document.num_pages:
        return document
    told = f"pages {in_words(wanted) or 'none'} of {document.num_pages} are read (setting plan.pages: {pages})"
    detail = f"{told}; {document.detail}" if document.detail else told
    return replace(document, status=DocumentStatus.PARTIAL, detail=detail)


def _commit(
    folder: Folder, index: PlanIndex, pending: Sequence[Document], settings: PlanSettings, fingerprint: str
) -> tuple[PlanIndex, list[Planned]]:
    """Write the next part; returns the index that includes it. If another planner took the part's name, read
    the whole log again and plan what is left."""
    _insist_on_some(index, pending)
    while True:
        number = index.next_part
        news, again = [], []
        for document in pending:
            if index.is_news(document):
                again.append(index.is_again(document))
                news.append(index.place(document))
        if not news:
            return index, []
        pages_per_shard = settings.pages_per_shard or PAGES_PER_SHARD
        part = cut_shards(news, pages_per_shard, fingerprint, settings.pages)
        if index.holds_shard_of(part):
            part = cut_shards(news, pages_per_shard, f"{fingerprint} {number}", settings.pages)
        part = [replace(planned, is_again=is_again) for planned, is_again in zip(part, again, strict=True)]
        if append_part(folder, number, part):
            index.next_part += 1
            _log.info("planned part %d: %s", number, counted(len(part), "document"))
            return index, part
        index = load_index(folder, index.retry, index.lost)
        if index.next_part <= number:
            raise StorageError(f"{folder.uri}/plan: part {number} exists and is not listed; try again")


def _insist_on_some(index: PlanIndex, documents: Sequence[Document]) -> None:
    """If nothing at all can be read, the store or the folder is at fault, and no document may be recorded as bad."""
    refused = [document for document in documents if document.status is DocumentStatus.UNREADABLE]
    if len(refused) > 1 and not index.has_read and not any(map(was_read, documents)):
        raise StorageError(f"none of {len(refused)} documents can be read. The first one: {refused[0].detail}")


def _shard_id(ranges: Sequence[tuple[Document, int, int]], fingerprint: str) -> str:
    """A hash of what is in the shard and of the settings that change results."""
    digest = hashlib.sha256(fingerprint.encode())
    for document, start, stop in ranges:
        digest.update(f"\n{document.doc_id} {start} {stop} {document.uri}".encode())
    return digest.hexdigest()[:20]
