"""One page, read as a run reads it: for notebooks, and for a look at what an engine makes of a page.

    with quire.PageReader(engine="tesseract") as reader:
        page = reader.read("paper.pdf", page_index=3)

Writes nothing but a temporary file for an image in memory.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self, Unpack

from PIL import Image

from quire.api.keywords import Keywords, LoopThread, settings_from
from quire.config.settings import Settings
from quire.conversion.shard import Converter, convert_shard
from quire.engines.choose import pinned
from quire.errors import ConfigError, UnreadableDocument
from quire.flows.converter import make_converter
from quire.flows.local import running_engines
from quire.flows.requirements import require
from quire.planning.discover import looked_up
from quire.planning.probe import Prober
from quire.rasterize.fetching import FetchingRasterizer
from quire.rasterize.sandbox import Sandbox
from quire.records import Document, PageImage, PageResult, Shard
from quire.storage.cache_folder import open_cache
from quire.storage.uris import is_remote

Source = str | Path | bytes | Image.Image


class PageReader:
    """An engine that is kept ready, since one takes from a second (on CPUs) to minutes (on a GPU) to start. Used by
    `with`, or ended by `close`. Not for several threads at a time."""

    def __init__(self, *, passwords: tuple[str, ...] = (), **settings: Unpack[Keywords]) -> None:
        """Settings as in `convert`. Raises `ConfigError` and `MissingDependency` before anything is started."""
        self._settings = settings_from(settings)
        require(self._settings)
        self._thread = LoopThread()
        self._passwords = passwords
        self._reader: _Reader | None = None

    def read(self, source: Source, page_index: int = 0) -> PageResult:
        """One page of a document, from 0. `source`: a path or URI, the bytes of a file, or a PIL image.

        What is wrong with the page is in the result: `outcome`, `failure`, `marks`. Raises `UnreadableDocument` for
        what is no document that can be opened, and `ConfigError` for a page that it has not.
        """
        if isinstance(source, str | Path):
            uri = str(source) if is_remote(str(source)) else str(Path(source).absolute())
            return self._thread.wait_for(self._read(uri, page_index))
        with tempfile.NamedTemporaryFile(prefix="quire-page-") as file:
            file.write(source if isinstance(source, bytes) else _png(source))
            file.flush()
            return self._thread.wait_for(self._read(file.name, page_index))

    def close(self) -> None:
        """End the engine and all processes."""
        if self._reader is not None:
            self._thread.wait_for(self._reader.close())
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _read(self, uri: str, page_index: int) -> PageResult:
        if self._reader is None:
            self._reader = await _Reader.start(self._settings, self._passwords)
        return await self._reader.read(uri, page_index)


def read_page(
    source: Source, page_index: int = 0, *, passwords: tuple[str, ...] = (), **settings: Unpack[Keywords]
) -> PageResult:
    """`PageReader.read` with an engine that is started for this page alone."""
    with PageReader(passwords=passwords, **settings) as reader:
        return reader.read(source, page_index)


@dataclass(frozen=True, slots=True)
class _Reader:
    """The coroutines' side."""

    settings: Settings
    prober: Prober
    converter: Converter[PageImage]
    results: list[PageResult]  # of the page that is being read
    stack: AsyncExitStack

    @classmethod
    async def start(cls, settings: Settings, passwords: tuple[str, ...]) -> Self:
        settings = await asyncio.to_thread(pinned, settings)
        async with AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(Sandbox(settings.render, passwords, num_workers=1))
            cache = open_cache(settings.flow, settings.storage)
            rasterizer = FetchingRasterizer(cache, sandbox)
            stack.callback(rasterizer.close)
            engines = await stack.enter_async_context(running_engines(settings))
            results: list[PageResult] = []

            def keep(shard: Shard, pages: Sequence[PageResult], timings: object) -> bool:
                results.extend(pages)
                return True

            converter = make_converter(settings, rasterizer, engines, keep, lambda page: None)
            return cls(settings, Prober(cache, sandbox, settings.plan), converter, results, stack.pop_all())

    async def close(self) -> None:
        await self.stack.aclose()

    async def read(self, uri: str, page_index: int) -> PageResult:
        document = await self._probe(uri)
        if not 0 <= page_index < document.num_pages:
            raise ConfigError(f"{uri} has {document.num_pages} pages; there is no page_index {page_index}")
        self.results.clear()
        await convert_shard(Shard("", (document.pages(page_index, page_index + 1),), ()), self.converter)
        return self.results[0]

    async def _probe(self, uri: str) -> Document:
        (ref,) = await asyncio.to_thread(lambda: list(looked_up([uri], self.settings.storage)))
        document = await self.prober.probe(ref)
        if not document.num_pages:
            raise UnreadableDocument(f"{uri} is {document.status.value}: {document.detail}")
        return document


def _png(image: Image.Image) -> bytes:
    png = io.BytesIO()
    image.save(png, "png")
    return png.getvalue()
