"""A page's way from its first image to its one outcome, attempt by attempt."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from quire.conversion.page import PageReader
from quire.engines.held_image import HeldImage, Rasterized
from quire.errors import ImageLost, PageRejected, QuireError
from quire.records import (
    Failure,
    ImageInfo,
    Mark,
    Outcome,
    PageFacts,
    PageRange,
    PageResult,
    RasterizedPage,
    Recognition,
    Request,
)

SOURCE = PageRange("s3://b/a.pdf", "etag", 10, "ab" * 32, "application/pdf", 5, 0, 5)
LADDER = (Request("tiny"), Request("base"), Request("gundam"))


NUM_BYTES = {"tiny": 1_000, "base": 3_000, "gundam": 10_000}


def rasterized(
    mode: str = "tiny",
    ink_share: float = 0.1,
    failure: Failure | None = None,
    marks: tuple[Mark, ...] = (),
    later: Failure | None = None,
    resize: Callable[[int], None] = lambda num_bytes: None,
) -> Rasterized[str]:
    """`later`: of making its image again."""
    if failure:
        return RasterizedPage(3, "mupdf", 0.1, failure=failure), None

    async def make_again() -> Rasterized[str]:
        return rasterized(mode, failure=later, resize=resize)

    info = ImageInfo(mode, 512, 512, 73, 60.0, "sha", NUM_BYTES[mode])
    page = RasterizedPage(3, "mupdf", 0.1, PageFacts(595, 842, ink_share), info, marks=marks)
    return page, HeldImage(f"pixels at {mode}", info.num_bytes, make_again, resize)


@dataclass
class Engine:
    """Answers each call with the next of `answers`."""

    answers: list[Callable[[], Recognition]]
    seen: list[tuple[str, str]] = field(default_factory=list)
    window: int = 1

    async def recognize(self, held: HeldImage[str], request: Request) -> Recognition:
        self.seen.append((await held.get(), request.mode))
        return self.answers.pop(0)()


async def read(
    *answers: Callable[[], Recognition],
    first: Rasterized[str] | None = None,
    later: Failure | None = None,
) -> tuple[PageResult, Engine]:
    engine = Engine(list(answers))

    async def again(page_index: int, mode: str) -> Rasterized[str]:
        assert page_index == 3
        return rasterized(mode)

    reader = PageReader(SOURCE, engine, LADDER, again, True, "markdown")
    result, timing = await reader.read(*(first or rasterized(later=later)))
    assert timing.render_s == 0.1
    assert len(timing.attempt_s) == len(result.attempts)
    assert (result.failure is None) == (result.outcome is not Outcome.FAILED)
    return result, engine


def good() -> Recognition:
    return Recognition("# Title\n\nText", "stop", 5)


def cut_off() -> Recognition:
    return Recognition("# Tit", "length", 8192)


def loop() -> Recognition:
    return Recognition("over and over " * 100, "length", 8192)


def rejected() -> Recognition:
    raise PageRejected("unsupported_script", "cannot read Hangul")


def lost() -> Recognition:
    raise ImageLost("its node is gone")


async def test_a_page_read_at_once() -> None:
    result, engine = await read(good)
    assert (result.outcome, result.markdown) == (Outcome.OCR, "# Title\n\nText")
    assert engine.seen == [("pixels at tiny", "tiny")]


async def test_each_rung_gets_pixels_of_its_own_mode() -> None:
    result, engine = await read(loop, cut_off, good)
    assert result.outcome is Outcome.OCR
    assert engine.seen == [(f"pixels at {mode}", mode) for mode in ("tiny", "base", "gundam")]
    assert [attempt.outcome for attempt in result.attempts] == ["loop", "truncated", "ok"]
    assert result.image is not None and result.image.mode == "gundam"


async def test_the_bytes_of_each_rung_are_counted_while_they_are_held() -> None:
    """An engine that has read the pixels lets go of them; those of the next rung are larger."""
    held_bytes: list[int] = []
    seen: list[int] = []

    class LettingGo(Engine):
        async def recognize(self, held: HeldImage[str], request: Request) -> Recognition:
            seen.append(held_bytes[-1])
            held.let_go()
            return self.answers.pop(0)()

    async def again(page_index: int, mode: str) -> Rasterized[str]:
        assert held_bytes[-1] == 0, "nothing is held of the rung before"
        return rasterized(mode, resize=held_bytes.append)

    reader = PageReader(SOURCE, LettingGo([loop, good]), LADDER, again, True, "markdown")
    await reader.read(*rasterized(resize=held_bytes.append))
    assert seen == [1_000, 3_000]


async def test_the_end_of_the_ladder_is_a_failure_that_keeps_the_raw_text() -> None:
    result, _ = await read(cut_off, cut_off, loop)
    assert result.failure is not None
    assert (result.outcome, result.failure.kind) == (Outcome.FAILED, "repetition")
    assert result.raw_text.startswith("over and over") and result.markdown == ""


async def test_a_rejected_page_is_not_tried_again() -> None:
    result, engine = await read(rejected, good)
    assert result.failure == Failure("recognize", "unsupported_script", "cannot read Hangul")
    assert len(engine.seen) == 1


def nothing() -> Recognition:
    return Recognition(" \n", "stop", 1)


async def test_a_page_with_ink_that_comes_back_empty_is_tried_at_the_next_rung() -> None:
    result, engine = await read(nothing, good)
    assert (result.outcome, result.markdown, result.marks) == (Outcome.OCR, "# Title\n\nText", ())
    assert [attempt.outcome for attempt in result.attempts] == ["empty", "ok"]
    assert engine.seen[1] == ("pixels at base", "base")


async def test_a_page_that_comes_back_empty_to_the_end_is_marked() -> None:
    result, _ = await read(nothing, nothing, nothing)
    assert (result.outcome, result.reason, result.markdown) == (Outcome.OCR, "empty", "")
    assert [mark.kind for mark in result.marks] == ["empty"]


@pytest.mark.parametrize("after", [cut_off, rejected])
async def test_nothing_of_an_empty_reading_is_left_where_a_later_rung_fails(
    after: Callable[[], Recognition],
) -> None:
    result, _ = await read(nothing, after, after)
    assert (result.outcome, result.markdown, result.blocks, result.marks) == (Outcome.FAILED, "", (), ())


async def test_a_page_without_ink_that_nobody_vouches_for_is_read() -> None:
    marks = (Mark("unsure", "mupdf draws nothing of its 446 characters"),)
    result, engine = await read(nothing, first=rasterized(ink_share=0.0, marks=marks))
    assert len(engine.seen) == 1 and result.outcome is Outcome.OCR
    assert result.marks == marks


async def test_the_marks_of_a_page_that_was_read_are_those_of_the_image_that_was() -> None:
    marks = (Mark("damaged", "mupdf: premature end"),)
    result, _ = await read(good, first=rasterized(marks=marks))
    assert (result.outcome, result.marks) == (Outcome.OCR, marks)


async def test_a_blank_page_costs_no_engine_call() -> None:
    result, engine = await read(first=rasterized(ink_share=1e-6))
    assert (result.outcome, engine.seen) == (Outcome.BLANK, [])


async def test_a_page_that_cannot_be_rendered() -> None:
    failure = Failure("rasterize", "render_timeout", "no answer within 30 s")
    result, engine = await read(first=rasterized(failure=failure))
    assert (result.outcome, result.failure, engine.seen) == (Outcome.FAILED, failure, [])


async def test_a_lost_image_is_made_again_and_counts_as_one_attempt() -> None:
    result, engine = await read(lost, lost, good)
    assert result.outcome is Outcome.OCR
    assert len(engine.seen) == 3 and len(result.attempts) == 1


async def test_a_source_that_was_changed_before_a_lost_image_was_made_again_is_named() -> None:
    """Or nobody would plan the document again."""
    changed = Failure("fetch", "source_changed", "a.pdf has another etag")
    result, _ = await read(lost, good, later=changed)
    assert result.failure is not None
    assert (result.failure.stage, result.failure.kind) == ("fetch", "source_changed")
    assert "another etag" in result.failure.message


async def test_images_that_are_lost_for_ever_are_not_the_pages_fault() -> None:
    with pytest.raises(QuireError, match="was lost 5 times"):
        await read(*[lost] * 9)


async def test_a_page_that_looks_blank_at_a_later_rung_stays_failed() -> None:
    """Two modes may see the ink of a nearly blank page differently."""
    engine = Engine([cut_off, cut_off, cut_off])

    async def again(page_index: int, mode: str) -> Rasterized[str]:
        return rasterized(mode, ink_share=1e-6)

    reader = PageReader(SOURCE, engine, LADDER, again, True, "markdown")
    result, _ = await reader.read(*rasterized())
    assert result.outcome is Outcome.FAILED and result.failure is not None
