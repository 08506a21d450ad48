"""Fetching from an event loop: in threads of its own, and one fetch for all callers that want the same document.

Knows nothing of what the documents are.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

from quire.errors import StorageError
from quire.records import DocumentRef, PageRange
from quire.storage.source_cache import SourceCache, SourceFile

MOST_FETCHES = 5  # of a document that changes, or is evicted from the cache, each time before it is read


class Fetcher:
    """A cache's files, `num_fetches` fetched at a time. Belongs to one event loop.

    A fetch may wait for minutes, for the store or for another process that has the document's lock. It delays only
    other fetches, and goes on if its callers are cancelled.
    """

    def __init__(self, cache: SourceCache, num_fetches: int) -> None:
        self._cache = cache
        self._threads = ThreadPoolExecutor(num_fetches, thread_name_prefix="fetch")
        self._under_way: dict[str, Future[SourceFile]] = {}

    async def fetch(self, source: PageRange) -> SourceFile:
        """See `SourceCache.fetch`. Chunks of a document are asked for at the same time; one thread fetches for all."""
        future = self._under_way.get(source.doc_id)
        if future is None:
            future = self._threads.submit(self._cache.fetch, source.uri, source.doc_id, source.size_bytes)
            self._under_way[source.doc_id] = future
            future.add_done_callback(lambda _: self._under_way.pop(source.doc_id))
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(_look)
        return await asyncio.shield(waiting)

    async def fetch_new(self, ref: DocumentRef, most_bytes: int) -> SourceFile:
        """See `SourceCache.fetch_new`."""
        fetch_new = self._cache.fetch_new
        return await asyncio.get_running_loop().run_in_executor(self._threads, fetch_new, ref, most_bytes)

    def close(self) -> None:
        """Start no more fetches. Does not wait for those under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look(future: asyncio.Future[SourceFile]) -> None:
    """Mark an error as seen, also if nobody waits for it any more: otherwise asyncio would log it."""
    if not future.cancelled():
        future.exception()


def changed_too_often(uri: str) -> StorageError:
    return StorageError(
        f"{uri} changed, or left the cache, {MOST_FETCHES} times while it was read: raise flow.cache_mb"
    )
