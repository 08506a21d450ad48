"""Pictures of the pages to look at, rendered from the source documents when the report is made.

Pages keep no pixels, so the documents are fetched and rendered once more, in killable processes with the same limits as
in a run. If that fails, words say why. Does not know where thumbnails are shown.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from PIL import Image

from quire.config.settings import Settings
from quire.errors import ConfigError, StorageError
from quire.rasterize.fetching import FetchingRasterizer
from quire.rasterize.sandbox import Sandbox
from quire.records import PageImage
from quire.report.excerpts import Key
from quire.report.notable import NotablePage
from quire.storage.cache_folder import open_cache
from quire.storage.uris import is_remote

MODE = "side384"  # the whole page at its own aspect: no padding to cut off, nothing stretched
_QUALITY = 55
_BUDGET_BYTES = 5 << 20
"""Of all pictures. A page may be shown in two lists and base64 adds a third: 14 MB of the report at the most."""
_MAX_FETCH_BYTES = 256 << 20  # of a document that is fetched for a thumbnail
_NUM_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture as a data URI with its size, or `missing`: words that stand in its place."""

    data_uri: str = ""
    width_px: int = 0
    height_px: int = 0
    missing: str = ""


async def render_thumbnails(
    pages: Iterable[NotablePage],
    settings: Settings,
    passwords: tuple[str, ...],
    observe: Callable[[int], None] = lambda num_done: None,
) -> Mapping[Key, Thumbnail]:
    """A thumbnail for each page, by `NotablePage.key`. Fetches documents into this machine's cache; `observe` is told
    how many are done. Raises `MissingDependency` if the renderer of the settings is not installed."""
    wanted = list({page.key: page for page in pages}.values())
    cache = open_cache(settings.flow, settings.storage)
    slots, made = asyncio.Semaphore(_NUM_AT_ONCE), 0
    async with Sandbox(settings.render, passwords) as sandbox:
        with closing(FetchingRasterizer(cache, sandbox)) as rasterizer:

            async def render(page: NotablePage) -> Thumbnail:
                nonlocal made
                async with slots:
                    thumbnail = await _thumbnail(page, rasterizer)
                made += 1
                observe(made)
                return thumbnail

            thumbnails = await asyncio.gather(*map(render, wanted))
    return dict(zip((page.key for page in wanted), within_budget(thumbnails), strict=True))


async def _thumbnail(page: NotablePage, rasterizer: FetchingRasterizer) -> Thumbnail:
    source = page.source
    if page.failure_stage == "rasterize":  # it would hang, crash or fail again
        return Thumbnail(missing=f"cannot be rendered: {page.failure_kind}")
    if is_remote(source.uri) and source.size_bytes > _MAX_FETCH_BYTES:
        return Thumbnail(missing=f"not fetched: the document has {source.size_bytes >> 20} MB")
    try:
        async for rasterized, image in rasterizer.rasterize(source, [page.page_index], MODE):
            if image is not None:
                return await asyncio.to_thread(_encode, await image.get())
            if rasterized.failure is not None:
                return Thumbnail(missing=_WORDS.get(rasterized.failure.kind, rasterized.failure.kind))
    except ConfigError:
        return Thumbnail(missing="encrypted: give --passwords to see it")
    except StorageError:
        return Thumbnail(missing="the document cannot be reached from here")
    return Thumbnail(missing="no image")


_WORDS = {
    "source_missing": "the document is no longer there",
    "source_changed": "the document has changed since",
    "source_unreadable": "the store does not give the document",
    "render_timeout": "rendering took too long",
}


def _encode(image: PageImage) -> Thumbnail:
    view = image.views[-1]
    buffer = io.BytesIO()
    Image.fromarray(view).save(buffer, "WEBP", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Thumbnail(f"data:image/webp;base64,{data}", view.shape[1], view.shape[0])


def within_budget(thumbnails: Iterable[Thumbnail], budget_bytes: int = _BUDGET_BYTES) -> Iterable[Thumbnail]:
    """The first thumbnails whose pictures fit together, and words for the rest."""
    num_bytes = 0
    for thumbnail in thumbnails:
        num_bytes += len(thumbnail.data_uri) * 3 // 4
        yield thumbnail if num_bytes <= budget_bytes else Thumbnail(missing="left out, to keep this page small")
