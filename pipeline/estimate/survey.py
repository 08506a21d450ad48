"""Looks at the drawn documents: fetches and probes each, and renders a few of its pages, as a run would.

Does not know how documents were drawn, nor how its findings are used.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence

from quire.estimate.population import Drawn, name_of
from quire.estimate.sample import SampledDocument, SampledPage
from quire.planning.plan_log import CONVERTED
from quire.rasterize.base import Rasterizer
from quire.rasterize.held_image import HeldImage, hold_for_once
from quire.records import Document, DocumentRef, PageImage, RasterizedPage

_FEWEST_PAGES = 2
_MOST_PAGES = 32


async def survey(
    drawn: Sequence[Drawn],
    probe: Callable[[DocumentRef], Awaitable[Document]],
    rasterizer: Rasterizer[PageImage],
    mode: str,
    num_at_once: int,
    observe: Callable[[Document], None] = lambda document: None,
) -> list[SampledDocument]:
    """What was seen of each document, in the order drawn. `observe` is called with each document when it is done."""
    slots = asyncio.Semaphore(num_at_once)

    async def look(one: Drawn) -> SampledDocument:
        async with slots:
            document = one.unit if isinstance(one.unit, Document) else await probe(one.unit)
            pages = await _pages(document, rasterizer, mode, name_of(one.unit))
            observe(document)
            return SampledDocument(one.stratum, document.num_pages if pages else 0, pages)

    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(look(one)) for one in drawn]
    return [task.result() for task in looks]


async def _pages(
    document: Document, rasterizer: Rasterizer[PageImage], mode: str, name: str
) -> tuple[SampledPage, ...]:
    if document.status not in CONVERTED or not document.num_pages:
        return ()
    whole = document.pages(0, document.num_pages)
    indices = _chosen(document.num_pages, name)
    pages = rasterizer.rasterize(whole, indices, mode, hold_for_once)
    return tuple([await _seen(page, image) async for page, image in pages])


def _chosen(num_pages: int, name: str) -> list[int]:
    """Pages to look at, as many as the square root of `num_pages`: a long document matters more, but its pages are
    alike. The same name gives the same pages."""
    number = min(num_pages, _MOST_PAGES, max(_FEWEST_PAGES, math.isqrt(num_pages)))
    return sorted(random.Random(name.encode("utf-8", "surrogatepass")).sample(range(num_pages), number))


async def _seen(page: RasterizedPage, held: HeldImage[PageImage] | None) -> SampledPage:
    if held is None:
        return SampledPage(page.facts)
    image = await held.get()
    sides = tuple(max(view.shape[:2]) for view in image.views)
    return SampledPage(page.facts, image.num_image_tokens, sides)
