"""What one document may cost: after so many pages that hang, the rest of it is not tried.

The rule: of a document's pages in one shard, in their order, `MAX_HUNG_PAGES` may hit the limit of CPU time; every page
after those fails as `document_budget`. The rule depends on the pages and the plan alone: workers, order, kills and
resumptions change nothing. So a page that was rendered before the rule was known to apply to it fails all the same.

So a document of n shards costs at most n x `MAX_HUNG_PAGES` times a page's limit, for each renderer, plus the pages
that are in flight when the last of these hangs. Does not know why pages hang.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Generic

from quire.rasterize.base import Rasterizer
from quire.rasterize.held_image import Hold, Rasterized
from quire.records import Failure, ImageT, Outcome, PageRange, PageResult, RasterizedPage

MAX_HUNG_PAGES = 5
"""Some pages of a good document may be too much for every renderer (maps, say). A document that is made to hang, or one
that the renderer cannot draw, has them in a row."""
_HUNG = "render_timeout"
_FAILURE = Failure(
    "rasterize",
    "document_budget",
    f"not tried: {MAX_HUNG_PAGES} pages of this document before it took more CPU time than they may",
)


class BudgetedRasterizer(Generic[ImageT]):
    """A rasterizer for one shard, or a part of one, that does not try pages whose budget is known to be spent."""

    def __init__(self, rasterizer: Rasterizer[ImageT]) -> None:
        self._rasterizer = rasterizer
        self._hung: defaultdict[str, set[int]] = defaultdict(set)  # page indices by document

    async def rasterize(
        self, source: PageRange, page_indices: Sequence[int], mode: str, hold: Hold[ImageT]
    ) -> AsyncIterator[Rasterized[ImageT]]:
        """As the contract says, for page indices that ascend."""
        pages = self._rasterizer.rasterize(source, page_indices, mode, hold)
        for page_index in page_indices:
            if self._is_spent(source.doc_id, page_index):
                yield RasterizedPage(page_index, renderer="", seconds=0.0, failure=_FAILURE), None
                continue
            page, image = await anext(pages)
            if page.failure is not None and page.failure.kind == _HUNG:
                self._hung[source.doc_id].add(page_index)
            yield page, image

    def _is_spent(self, doc_id: str, page_index: int) -> bool:
        return sum(hung < page_index for hung in self._hung[doc_id]) >= MAX_HUNG_PAGES


def within_budget(results: Sequence[PageResult]) -> Iterator[PageResult]:
    """Apply the rule to a shard's results, in which each document's pages are in order."""
    num_hung: Counter[str] = Counter()
    for result in results:
        if num_hung[result.doc_id] >= MAX_HUNG_PAGES:
            yield _not_tried(result)
            continue
        num_hung[result.doc_id] += result.failure is not None and result.failure.kind == _HUNG
        yield result


def _not_tried(result: PageResult) -> PageResult:
    return PageResult(
        doc_id=result.doc_id,
        source_uri=result.source_uri,
        source_etag=result.source_etag,
        page_index=result.page_index,
        num_pages=result.num_pages,
        outcome=Outcome.FAILED,
        reason=_FAILURE.kind,
        failure=_FAILURE,
    )
