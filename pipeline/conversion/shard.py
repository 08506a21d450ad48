"""One shard, from its page ranges to its committed rows. Read this first.

    ranges ─ admit ─► rasterize ─► recognize ─► collect ─► check ─► write

`convert_shard` knows nothing of processes, machines or Ray: its rasterizer and its engine may run anywhere. It holds a
shard's finished pages in memory (at most 256), and only as many images as `Admission` lets in, each until an engine has
read it.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Generic

from quire.config.profiles import Parser
from quire.conversion.admission import Admission, Ticket
from quire.conversion.document_budget import BudgetedRasterizer, within_budget
from quire.conversion.page import PageReader
from quire.engines.base import Engine
from quire.errors import AccountingError
from quire.rasterize.base import Rasterizer
from quire.rasterize.held_image import HeldImage, Rasterized
from quire.records import (
    ImageInfo,
    ImageT,
    PageRange,
    PageResult,
    PageTiming,
    RasterizedPage,
    Request,
    Shard,
)

_FIRST_GUESS_BYTES = 7 << 20  # of a page's image: A4 at 150 dpi is 6.5 MB, a base view 3.1, a Gundam page 10.5

Writer = Callable[[Shard, Sequence[PageResult], Sequence[PageTiming]], bool]
PageObserver = Callable[[PageResult], None]


@dataclass(frozen=True, slots=True)
class Converter(Generic[ImageT]):
    """The parts that every shard of a process shares. `write` commits and says whether these rows count."""

    rasterizer: Rasterizer[ImageT]
    engine: Engine[ImageT]
    ladder: Sequence[Request]
    admission: Admission
    write: Writer
    observe: PageObserver
    keep_headers_and_footers: bool
    parser: Parser
    commits: Executor | None = None  # runs `write`, which waits for the store; None: asyncio's default executor
    max_chunk_pages: int = 16

    @property
    def chunk_pages(self) -> int:
        """Pages rasterized by one call: small beside the engine's window, so that no chunk starves it."""
        return max(1, min(self.max_chunk_pages, self.engine.window // 4))


async def convert_shard(
    shard: Shard, converter: Converter[ImageT], admitted: Callable[[], object] = lambda: None
) -> None:
    """Convert and commit one shard. Calls `admitted` when all its pages are admitted, so that another shard may start.
    Raises for faults that are not a page's: the store, the engines, a bug."""
    converter = replace(converter, rasterizer=BudgetedRasterizer(converter.rasterizer))
    pages: list[tuple[PageResult, PageTiming]] = []
    try:
        async with asyncio.TaskGroup() as chunks:
            for source in shard.ranges:
                for indices in _chunks(source, converter.chunk_pages):
                    tickets = await converter.admission.enter(len(indices), _FIRST_GUESS_BYTES)
                    chunks.create_task(_convert_chunk(source, indices, tickets, converter, pages.append))
            admitted()
    except BaseExceptionGroup as group:
        raise first_cause(group) from group
    order = {source.doc_id: position for position, source in enumerate(shard.ranges)}
    pages.sort(key=lambda page: (order[page[0].doc_id], page[0].page_index))
    results = list(within_budget([result for result, _ in pages]))
    check_complete(shard, results)
    host = socket.gethostname()
    timings = [replace(timing, host=host) for _, timing in pages]
    await asyncio.get_running_loop().run_in_executor(converter.commits, converter.write, shard, results, timings)


class ShardQueue:
    """Shards for several consumers, read from the plan as they are asked for."""

    def __init__(self, shards: Iterable[Shard]) -> None:
        self._shards = iter(shards)
        self._is_empty = False
        self._lock = asyncio.Lock()

    async def take(self) -> Shard | None:
        """The next shard, or None when there are no more. Reads in a thread: a part of the plan may be fetched."""
        async with self._lock:
            if self._is_empty:  # hundreds of consumers may ask
                return None
            shard = await asyncio.to_thread(next, self._shards, None)
            self._is_empty = shard is None
            return shard


async def convert_shards(shards: Iterable[Shard], converter: Converter[ImageT], max_open: int) -> None:
    """Convert shards in order. The next shard is opened when all pages of those before it are admitted, so that engines
    have work while shards wait for their slowest pages. `max_open` bounds the open shards, and so what waits in
    memory."""
    queue, turn = ShardQueue(shards), asyncio.Lock()

    async def work() -> None:
        while True:
            await turn.acquire()
            shard = await queue.take()
            if shard is None:
                turn.release()
                return
            await convert_shard(shard, converter, turn.release)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(max_open):
                workers.create_task(work())
    except BaseExceptionGroup as group:
        raise first_cause(group) from group


def check_complete(shard: Shard, results: Sequence[PageResult]) -> None:
    """Every page of the shard has exactly one result, and nothing else has."""
    wanted = shard.pages
    got = [(result.doc_id, result.page_index) for result in results]
    if wanted != got:
        missing, extra = set(wanted) - set(got), set(got) - set(wanted)
        raise AccountingError(
            f"shard {shard.shard_id}: {len(wanted)} pages went in and {len(got)} rows came out; "
            f"missing {sorted(missing)[:5]}, unexpected {sorted(extra)[:5]}. This is a bug: please report it"
        )


async def _convert_chunk(
    source: PageRange,
    indices: Sequence[int],
    tickets: Sequence[Ticket],
    converter: Converter[ImageT],
    collect: Callable[[tuple[PageResult, PageTiming]], None],
) -> None:
    """Rasterize a chunk; each page goes to the engine as soon as it is there."""
    ticket_of = dict(zip(indices, tickets, strict=True))

    def hold(page_index: int, info: ImageInfo, image: ImageT) -> HeldImage[ImageT]:
        make_again = functools.partial(rasterize_again, page_index, info.mode)
        return HeldImage(image, info.num_bytes, make_again, ticket_of[page_index].resize)

    async def rasterize_again(page_index: int, mode: str) -> Rasterized[ImageT]:
        found = [each async for each in converter.rasterizer.rasterize(source, [page_index], mode, hold)]
        if not found:
            raise AccountingError(f"the rasterizer gave nothing for page {page_index} of {source.uri}")
        return found[0]

    async def read(page: RasterizedPage, image: HeldImage[ImageT] | None) -> None:
        ticket = ticket_of[page.page_index]
        if image is None:
            ticket.resize(0)
        result, timing = await reader.read(page, image)
        if image is not None:
            image.let_go()  # else the rasterizer, which has it until its next page, would hold it uncounted
        ticket.give_back()
        collect((result, timing))
        converter.observe(result)

    reader = PageReader(
        source,
        converter.engine,
        converter.ladder,
        rasterize_again,
        converter.keep_headers_and_footers,
        converter.parser,
    )
    try:
        async with asyncio.TaskGroup() as readers:
            first_mode = converter.ladder[0].mode
            async for page, image in converter.rasterizer.rasterize(source, indices, first_mode, hold):
                readers.create_task(read(page, image))
    finally:
        for ticket in tickets:
            ticket.give_back()


def _chunks(source: PageRange, size: int) -> list[range]:
    starts = range(source.start, source.stop, size)
    return [range(start, min(start + size, source.stop)) for start in starts]


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """A task group wraps what its tasks raise; callers want to know what it was."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
