"""A rasterizer that fetches the document first: what `convert_shard` is given on one machine, and what each
rasterizer task of a cluster runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from pipeline.errors import ConfigError, NotFound, StorageError
from pipeline.fetch import SourceCache, SourceChanged
from pipeline.rasterize.sandbox import Sandbox
from pipeline.records import Failure, PageImage, PageRange, RasterizedPage

_MAX_EVICTIONS = 5


class FetchingRasterizer:
    """Fulfils the rasterizer contract. Closes its sandbox; shares the cache with all that have its folder."""

    def __init__(self, cache: SourceCache, sandbox: Sandbox) -> None:
        self._cache = cache
        self._sandbox = sandbox

    async def rasterize(
        self, source: PageRange, page_indices: Sequence[int], mode: str
    ) -> AsyncIterator[RasterizedPage[PageImage]]:
        """Raises `StorageError` where the store is at fault and `ConfigError` where a password is missing: such
        faults are not the document's, and must not be written down as if they were."""
        for _ in range(_MAX_EVICTIONS):
            asked = time.perf_counter()
            try:
                path = await asyncio.to_thread(self._cache.fetch, source.uri, source.doc_id, source.size_bytes)
            except (NotFound, SourceChanged) as exc:
                for page_index in page_indices:
                    yield _unfetched(page_index, exc)
                return
            fetch_s, asked = time.perf_counter() - asked, time.perf_counter()
            with contextlib.suppress(FileNotFoundError):  # the cache made room just now: fetch it again
                async for page in self._sandbox.rasterize(path, source, page_indices, mode):
                    queue_s = max(0.0, time.perf_counter() - asked - page.seconds)
                    if page.failure is not None and "needs_password" in page.failure.kind:
                        raise ConfigError(f"{source.uri} was planned with a password: give --passwords again")
                    yield replace(page, fetch_s=fetch_s, queue_s=queue_s)
                    fetch_s, asked = 0.0, time.perf_counter()
                return
        raise StorageError(f"{source.uri} vanished from the cache {_MAX_EVICTIONS} times: raise flow.cache_mb")

    async def close(self) -> None:
        await self._sandbox.close()


def _unfetched(page_index: int, error: NotFound | SourceChanged) -> RasterizedPage[PageImage]:
    kind = "source_changed" if isinstance(error, SourceChanged) else "source_missing"
    return RasterizedPage(page_index, renderer="", seconds=0.0, failure=Failure("fetch", kind, str(error)))
