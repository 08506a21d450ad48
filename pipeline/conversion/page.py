"""One page's attempts: from its first image to its one outcome.

The ladder of attempts is data, each attempt one rung: a page that loops, is cut off or comes back empty at one rung is
rasterized again for the next. A page that the engine rejects fails at once, since it would be rejected again. Whatever
happens, the page ends in exactly one `PageResult`.

Does not know how pages are rasterized, which engine reads them, or where rows go.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Generic

from quire.config.profiles import Parser
from quire.engines.base import Engine
from quire.errors import ImageLost, PageRejected, QuireError
from quire.parse import judge, parse, to_markdown
from quire.parse.doubts import doubt, ink_read_share
from quire.rasterize.held_image import HeldImage, ImageNotMade, Rasterized, why_no_image
from quire.records import (
    Attempt,
    Failure,
    ImageInfo,
    ImageT,
    Mark,
    Outcome,
    PageRange,
    PageResult,
    PageTiming,
    RasterizedPage,
    Recognition,
    Request,
)

_MAX_LOST_IMAGES = 5

_FAILURE_KINDS = {"loop": "repetition", "truncated": "truncated"}
_WORTH_ANOTHER_RUNG = ("loop", "truncated", "empty")


@dataclass(frozen=True, slots=True)
class PageReader(Generic[ImageT]):
    """What is the same for all pages of a range. `rasterize_again(page_index, mode)` serves the later rungs."""

    source: PageRange
    engine: Engine[ImageT]
    ladder: Sequence[Request]
    rasterize_again: Callable[[int, str], Awaitable[Rasterized[ImageT]]]
    keep_headers_and_footers: bool
    parser: Parser

    async def read(self, page: RasterizedPage, image: HeldImage[ImageT] | None) -> tuple[PageResult, PageTiming]:
        """Bring one page to its outcome. Raises only for faults that are not the page's."""
        result = PageResult(
            doc_id=self.source.doc_id,
            source_uri=self.source.uri,
            source_etag=self.source.etag,
            page_index=page.page_index,
            num_pages=self.source.num_pages,
            outcome=Outcome.FAILED,
            reason="",
        )
        seconds: list[float] = []
        result = await self._climb(page, image, result, seconds)
        timing = PageTiming(
            doc_id=result.doc_id,
            page_index=result.page_index,
            render_s=page.seconds,
            recognize_s=sum(seconds),
            attempt_s=tuple(seconds),
            finished_at=datetime.now(UTC),
        )
        return result, timing

    async def _climb(
        self,
        page: RasterizedPage,
        image: HeldImage[ImageT] | None,
        result: PageResult,
        seconds: list[float],
    ) -> PageResult:
        for rung, request in enumerate(self.ladder):
            if rung > 0:
                if image is not None:
                    image.let_go()  # the previous rung's image is not needed again
                page, image = await self.rasterize_again(page.page_index, request.mode)
            result = _begun_anew(result, page)
            if page.failure is not None or image is None:
                failure = why_no_image(page)
                return replace(result, failure=failure, reason=failure.kind)
            # Only before the first attempt: a page that was tried has an outcome of its own.
            if rung == 0 and page.facts is not None and not page.facts.has_ink and not page.marks:
                return replace(result, outcome=Outcome.BLANK, reason="no ink on the page")
            result = await self._attempt(image, request, result, page.ink_map, seconds)
            if result.attempts[-1].outcome not in _WORTH_ANOTHER_RUNG:
                return result
        return result

    async def _attempt(
        self,
        image: HeldImage[ImageT],
        request: Request,
        result: PageResult,
        ink_map: bytes,
        seconds: list[float],
    ) -> PageResult:
        started = time.perf_counter()
        try:
            recognition = await self._recognize(image, request, result.page_index)
        except PageRejected as exc:
            own = exc.failure if isinstance(exc, ImageNotMade) else None
            failure = own or Failure("recognize", exc.kind, exc.message)
            return replace(
                result,
                failure=failure,
                reason=exc.kind,
                prompt=request.prompt,
                attempts=(*result.attempts, Attempt(request.mode, request.temperature, exc.kind)),
            )
        finally:
            seconds.append(time.perf_counter() - started)
        return self._judged(recognition, request, result, ink_map)

    async def _recognize(self, image: HeldImage[ImageT], request: Request, page_index: int) -> Recognition:
        """One attempt. If the image is lost before the engine has read it, a new one is made. Raises `QuireError` if
        images keep being lost: that is the cluster's fault, not the page's."""
        for _ in range(_MAX_LOST_IMAGES):
            try:
                return await self.engine.recognize(image, request)
            except ImageLost:
                image.let_go()
        raise QuireError(f"the image of page {page_index} of {self.source.uri} was lost {_MAX_LOST_IMAGES} times")

    def _judged(
        self, recognition: Recognition, request: Request, result: PageResult, ink_map: bytes
    ) -> PageResult:
        verdict = judge(recognition)
        blocks = parse(recognition, self.parser, _size_px(result.image))
        read_share = ink_read_share(blocks, ink_map)
        mark = doubt(blocks, result.facts, read_share) if verdict == "ok" else None
        outcome = "empty" if mark is not None and mark.kind == "empty" else verdict
        result = replace(
            result,
            recognition=recognition,
            raw_text=recognition.text.encode("utf-8", "replace").decode(),
            prompt=request.prompt,
            attempts=(*result.attempts, Attempt(request.mode, request.temperature, outcome)),
        )
        if verdict == "ok":
            return replace(
                result,
                outcome=Outcome.OCR,
                reason=_reason(result, mark),
                markdown=to_markdown(blocks, self.keep_headers_and_footers),
                blocks=blocks,
                failure=None,
                marks=(*result.marks, mark) if mark else result.marks,
                ink_read_share=read_share,
            )
        kind = _FAILURE_KINDS[verdict]
        num_tokens = recognition.num_output_tokens
        message = f"the completion {_WORDS[verdict]} after {num_tokens} tokens at mode {request.mode}"
        return replace(result, failure=Failure("recognize", kind, message), reason=kind)


def _begun_anew(result: PageResult, page: RasterizedPage) -> PageResult:
    """The result to begin a rung with: nothing that the rung before read is kept."""
    return replace(
        result,
        outcome=Outcome.FAILED,
        markdown="",
        blocks=(),
        ink_read_share=None,
        image=page.image_info,
        facts=page.facts,
        renderer=page.renderer,
        marks=page.marks,
    )


def _reason(result: PageResult, mark: Mark | None) -> str:
    if mark is not None:
        return mark.kind
    return "every page with ink is read" if len(result.attempts) == 1 else "an earlier attempt failed"


def _size_px(image: ImageInfo | None) -> tuple[int, int] | None:
    return (image.width_px, image.height_px) if image else None


_WORDS = {"loop": "went into a loop", "truncated": "was cut off"}
