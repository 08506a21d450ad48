"""A document whose pages hang costs so much and no more, and the same pages of it fail whatever the order of work."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from quire.config.sections import RenderSettings, StorageSettings
from quire.conversion.document_budget import MAX_HUNG_PAGES, BudgetedRasterizer, within_budget
from quire.flows.local import convert_with
from quire.planning.plan_log import planned_shards
from quire.rasterize.held_image import Hold, Rasterized, hold_for_once
from quire.rasterize.sandbox import Sandbox
from quire.records import Failure, Outcome, PageImage, PageRange, PageResult, RasterizedPage
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import open_folder
from tests import documents
from tests.rasterize.faults import write_faults
from tests.runs import Collector, scripted_settings

NUM_PAGES = 24
HANGS = (1, 2, 5, 6, 9, 13, 20)
SOURCE = PageRange("file:///d", "etag", 1, "doc-id", "application/pdf", NUM_PAGES, 0, NUM_PAGES)


class HangingRasterizer:
    """Some pages hang; it notes which it was asked for."""

    def __init__(self) -> None:
        self.tried: list[int] = []

    async def rasterize(
        self, source: PageRange, page_indices: Sequence[int], mode: str, hold: Hold[PageImage]
    ) -> AsyncIterator[Rasterized[PageImage]]:
        for page_index in page_indices:
            self.tried.append(page_index)
            await asyncio.sleep(0)
            failure = Failure("rasterize", "render_timeout", "hung") if page_index in HANGS else None
            yield RasterizedPage(page_index, "pdfium", 0.1, failure=failure), None


def result_of(page: RasterizedPage) -> PageResult:
    outcome = Outcome.FAILED if page.failure else Outcome.BLANK
    reason = page.failure.kind if page.failure else "no ink on the page"
    return PageResult(
        "doc-id",
        "file:///d",
        "etag",
        page.page_index,
        NUM_PAGES,
        outcome,
        reason,
        page.failure,
        renderer=page.renderer,
    )


async def outcomes(
    rasterizer: BudgetedRasterizer[PageImage], chunks: list[range], num_workers: int
) -> list[PageResult]:
    """As convert_shard does it: chunks side by side, results in the order of pages."""
    queue, results = iter(chunks), list[PageResult]()

    async def work() -> None:
        for chunk in queue:
            async for page, _ in rasterizer.rasterize(SOURCE, chunk, "tiny", hold_for_once):
                results.append(result_of(page))

    await asyncio.gather(*(work() for _ in range(num_workers)))
    results.sort(key=lambda result: result.page_index)
    return list(within_budget(results))


@pytest.mark.parametrize(
    ("chunk_pages", "num_workers", "is_reversed"),
    [*itertools.product((1, 4, 16), (1, 3), (False, True)), (NUM_PAGES, 1, False)],
)
async def test_which_pages_fail_does_not_depend_on_the_order_of_work(
    chunk_pages: int, num_workers: int, is_reversed: bool
) -> None:
    chunks = [range(at, min(at + chunk_pages, NUM_PAGES)) for at in range(0, NUM_PAGES, chunk_pages)]
    rasterizer = HangingRasterizer()
    order = chunks[::-1] if is_reversed else chunks
    results = await outcomes(BudgetedRasterizer(rasterizer), order, num_workers)
    last_tried = HANGS[MAX_HUNG_PAGES - 1]
    expected = [
        "document_budget" if index > last_tried else "render_timeout" if index in HANGS else ""
        for index in range(NUM_PAGES)
    ]
    assert [result.failure.kind if result.failure else "" for result in results] == expected
    one_by_one = await outcomes(BudgetedRasterizer(HangingRasterizer()), [range(NUM_PAGES)], 1)
    assert results == one_by_one
    if not is_reversed:
        assert len(rasterizer.tried) <= last_tried + 1 + num_workers * chunk_pages
    if not is_reversed and num_workers == 1:
        assert rasterizer.tried == list(range(last_tried + 1)), "what can be known is not tried"


def test_each_document_has_its_own_budget() -> None:
    hung = Failure("rasterize", "render_timeout", "hung")
    results = [
        PageResult(doc_id, "", "", index, 9, Outcome.FAILED, hung.kind, hung)
        for doc_id in "ab"
        for index in range(9)
    ]
    kinds = [(page.doc_id, page.reason) for page in within_budget(results)]
    for doc_id in "ab":
        assert kinds.count((doc_id, "render_timeout")) == MAX_HUNG_PAGES
        assert kinds.count((doc_id, "document_budget")) == 9 - MAX_HUNG_PAGES


async def test_a_document_that_really_hangs_beside_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    bad, good = tmp_path / "in/bad.tif", tmp_path / "in/good.pdf"
    bad.write_bytes(documents.tiff(8))  # which one renderer alone can do
    good.write_bytes(documents.pdf([f"innocent {index}" for index in range(8)]))
    hangs = (0, 1, 2, 4, 5, 6, 7)
    write_faults(bad, {f"pillow:{index}": "hang" for index in hangs})
    settings, output = scripted_settings(tmp_path, "flow.pages_per_chunk=1"), str(tmp_path / "out")
    await make_plan(Inputs((str(tmp_path / "in"),), (), output), settings)
    collector = Collector()
    limits = RenderSettings(page_cpu_s=0.5)
    async with Sandbox(limits, num_workers=1, target="tests.rasterize.faults:FaultyWorker") as sandbox:
        shards = planned_shards(open_folder(output, StorageSettings()))
        await convert_with(sandbox, shards, settings, collector.write, lambda page: None)
    pages = {(Path(page.source_uri).name, page.page_index): page.reason for page in collector.pages}
    assert [pages["bad.tif", index] for index in hangs] == ["render_timeout"] * 5 + ["document_budget"] * 2
    assert pages["bad.tif", 3] == "every page with ink is read"
    assert {pages["good.pdf", index] for index in range(8)} == {"every page with ink is read"}
