"""Which renderer is believed, and what of it: a page is blank, whole or drawn only if nobody has a doubt."""

from __future__ import annotations

import numpy as np
import pytest

from quire.rasterize.opinions import Drawn, Go, Undrawn, settle, wants_another
from quire.records import PageFacts, PageImage


def drawn(
    renderer: str = "mupdf", ink: float = 0.05, chars: int = 0, cover: float = 0.0, damage: str = ""
) -> Drawn:
    image = PageImage("doc", 0, "base", 10, 10, 0, 0, 1, 72.0, f"by {renderer}", (np.zeros((1, 1, 3), np.uint8),))
    return Drawn(renderer, image, PageFacts(595, 842, ink, num_chars=chars, image_cover=cover), damage=damage)


def undrawn(renderer: str = "mupdf", kind: str = "render_error") -> Undrawn:
    return Undrawn(renderer, kind, "said no")


NO_INK, STAMP = 0.0, 0.0002
CUT = "premature end"

# goes; is another renderer asked after the first; whose page, or the failure's kind; marks; words of mark or failure
CASES: dict[str, tuple[list[Go], bool, str, list[str], str]] = {
    "a page with ink": ([drawn()], False, "mupdf", [], ""),
    "a page without": ([drawn(ink=NO_INK), drawn("pdfium", NO_INK)], True, "mupdf", [], ""),
    "a page without, and nobody else to look": ([drawn("pdfium", NO_INK)], True, "pdfium", [], ""),
    "a page of which a repair lost all": ([drawn(ink=NO_INK), drawn("pdfium", chars=5)], True, "pdfium", [], ""),
    "a page without that the other cannot open": (
        [drawn(ink=NO_INK), undrawn("pdfium")],
        True, "mupdf", ["unsure"], "mupdf draws nothing, and nobody agrees: pdfium: render_error: said no",
    ),
    "a blank image": ([drawn("pillow", NO_INK, cover=1.0)], False, "pillow", [], ""),
    "text that is not drawn": (
        [drawn(ink=NO_INK, chars=446), drawn("pdfium", chars=446)], True, "pdfium", [], "",
    ),
    "text that nobody draws": (
        [drawn(ink=NO_INK, chars=446), drawn("pdfium", NO_INK, chars=446)], True, "mupdf", [], "",
    ),
    "text that nobody else looks at": (
        [drawn("pdfium", NO_INK, chars=446)], True, "pdfium", ["unsure"], "446 characters, and nobody agrees",
    ),
    "a trace of text": ([drawn(ink=1e-7, chars=5)], False, "mupdf", [], ""),
    "a blank scan": ([drawn(ink=NO_INK, cover=0.9), drawn("pdfium", NO_INK, cover=0.9)], True, "mupdf", [], ""),
    "a blank scan that kills the other": (
        [drawn(ink=NO_INK, cover=0.9), undrawn("pdfium", "render_crash")], True, "mupdf", ["unsure"], "render_crash",
    ),
    "a scan that is not drawn under its stamp": (
        [drawn(ink=STAMP, cover=0.9), drawn("pdfium", 0.05, cover=0.9)], True, "pdfium", [], "",
    ),
    "a scan that cannot be drawn under its stamp": (
        [drawn(ink=STAMP, cover=0.9), drawn("pdfium", STAMP, cover=0.9, damage=CUT)],
        True, "mupdf", ["damaged"], f"pdfium: {CUT}",
    ),
    "a stamp on a blank scan": (
        [drawn(ink=STAMP, cover=0.9), drawn("pdfium", STAMP, cover=0.9)], True, "mupdf", [], "",
    ),
    "damage that the other has not": (
        [drawn(damage=CUT), drawn("pdfium")], True, "pdfium", ["damaged"], f"mupdf: {CUT}",
    ),
    "damage that both have": (
        [drawn(damage=CUT), drawn("pdfium", damage="cut")], True, "mupdf", ["damaged"], f"mupdf: {CUT}; pdfium: cut",
    ),
    "damage of which the other shows more": (
        [drawn(ink=0.01, damage=CUT), drawn("pdfium", damage=CUT)], True, "pdfium", ["damaged"], CUT,
    ),
    "damage that the other does not survive": (
        [drawn(damage=CUT), undrawn("pdfium")], True, "mupdf", ["damaged"], CUT,
    ),
    "damage and no ink": (
        [drawn(ink=NO_INK, damage=CUT), drawn("pdfium", NO_INK)], True, "render_error", [], "nothing was drawn",
    ),
    "no ink, and damage at the other": (
        [drawn(ink=NO_INK, cover=1.0), drawn("pdfium", NO_INK, damage=CUT)], True, "render_error", [], CUT,
    ),
    "an error, then a page": ([undrawn(), drawn("pdfium")], True, "pdfium", [], ""),
    "an error, then nothing": (
        [undrawn(), drawn("pdfium", NO_INK)], True, "render_error", [], "pdfium: nothing was drawn",
    ),
    "a time-out, then nothing": (
        [undrawn(kind="render_timeout"), drawn("pdfium", NO_INK)], True, "render_timeout", [], "said no",
    ),
    "a page that one does not find, then nothing": (
        [undrawn(kind="page_missing"), drawn("pdfium", NO_INK)], True, "page_missing", [], "nothing was drawn",
    ),
    "two errors": (
        [undrawn(), undrawn("pdfium", "render_crash")], True, "render_error", [], "pdfium: render_crash: said no",
    ),
    "a bomb": ([undrawn(kind="too_many_pixels")], False, "too_many_pixels", [], ""),
}  # fmt: skip


@pytest.mark.parametrize(("goes", "asks_another", "whose", "marks", "words"), CASES.values(), ids=CASES)
def test_what_becomes_of_a_page(
    goes: list[Go], asks_another: bool, whose: str, marks: list[str], words: str
) -> None:
    assert wants_another(goes[0]) == asks_another
    page, image = settle(7, goes, 0.5)
    assert (page.page_index, page.seconds) == (7, 0.5)
    assert [mark.kind for mark in page.marks] == marks
    if page.failure is not None:
        assert (page.failure.kind, image, page.marks) == (whose, None, ())
        assert words in page.failure.message
    else:
        assert page.renderer == whose and image is not None and page.image_info is not None
        assert image.sha256 == page.image_info.sha256 == f"by {whose}"
        assert not words or words in page.marks[0].message
