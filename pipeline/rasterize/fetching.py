"""A rasterizer that fetches the document first: what `convert_shard` is given on one machine, and what each
rasterizer task of a cluster runs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from quire.errors import ConfigError, NotFound, ObjectError, SourceChanged
from quire.rasterize.held_image import Hold, Rasterized, hold_for_once
from quire.rasterize.sandbox import Sandbox
from quire.records import Failure, PageImage, PageRange, RasterizedPage
from quire.storage.fetcher import MOST_FETCHES, Fetcher, changed_too_often
from quire.storage.source_cache import SourceCache


class FetchingRasterizer:
    """Fulfils the rasterizer contract. Shares the cache with all that have its folder."""

    def __init__(self, cache: SourceCache, sandbox: Sandbox, num_fetches: int = 8) -> None:
        self._fetcher = Fetcher(cache, num_fetches)
        self._sandbox = sandbox

    async def rasterize(
        self,
        source: PageRange,
        page_indices: Sequence[int],
        mode: str,
        hold: Hold[PageImage] = hold_for_once,
    ) -> AsyncIterator[Rasterized[PageImage]]:
        """Raises `StorageError` where the store or this machine is at fault and `ConfigError` where a password is
        missing: such faults are not the document's, and must not be recorded as if they were."""
        left = list(page_indices)
        for _ in range(MOST_FETCHES):
            asked = time.perf_counter()
            try:
                file = await self._fetcher.fetch(source)
            except ObjectError as exc:
                for page_index in left:
                    yield _unfetched(page_index, exc), None
                return
            fetch_s, asked = time.perf_counter() - asked, time.perf_counter()
            with file.held(source.uri):
                async for page, image in self._sandbox.rasterize(file.path, source, left, mode, hold):
                    queue_s = max(0.0, time.perf_counter() - asked - page.seconds)
                    if not file.is_cached and not file.is_unchanged():  # then no page of it can be trusted
                        break
                    if page.failure is not None and "needs_password" in page.failure.kind:
                        raise ConfigError(f"{source.uri} was planned with a password: give --passwords again")
                    yield replace(page, fetch_s=fetch_s, queue_s=queue_s), image
                    left = left[1:]
                    fetch_s, asked = 0.0, time.perf_counter()
            if not left:
                return
        raise changed_too_often(source.uri)

    def close(self) -> None:
        """Begin no more fetches."""
        self._fetcher.close()


def _unfetched(page_index: int, error: ObjectError) -> RasterizedPage:
    if isinstance(error, SourceChanged):
        kind = "source_changed"
    else:
        kind = "source_missing" if isinstance(error, NotFound) else "source_unreadable"
    return RasterizedPage(page_index, renderer="", seconds=0.0, failure=Failure("fetch", kind, str(error)))
