"""What the tests of rasterization share: write a document, ask a sandbox for pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from quire.engines.held_image import HeldImage
from quire.rasterize.media_type import sniff_file
from quire.rasterize.sandbox import Sandbox
from quire.records import PageImage, PageRange, RasterizedPage


@dataclass(frozen=True, slots=True)
class Page(RasterizedPage):
    """With its pixels."""

    image: PageImage | None = None


async def with_pixels(page: RasterizedPage, held: HeldImage[PageImage] | None) -> Page:
    known = {each.name: getattr(page, each.name) for each in fields(page)}
    return Page(**known, image=await held.get() if held else None)


def source_of(path: Path, num_pages: int = 1) -> PageRange:
    with path.open("rb") as file:
        kind = sniff_file(file)
    return PageRange("file:///d", "etag", 1, "doc-id", kind, num_pages, 0, num_pages)


async def render(
    sandbox: Sandbox, path: Path, page_indices: Sequence[int] = (0,), mode: str = "base"
) -> list[Page]:
    source = source_of(path, len(page_indices))
    return [await with_pixels(*each) async for each in sandbox.rasterize(path, source, page_indices, mode)]


async def render_one(sandbox: Sandbox, path: Path, mode: str = "base") -> Page:
    return (await render(sandbox, path, (0,), mode))[0]


def image_of(page: Page) -> PageImage:
    assert page.image is not None, page.failure
    return page.image


def failure_kind(page: Page) -> str:
    assert page.failure is not None
    assert page.failure.stage == "rasterize"
    return page.failure.kind
