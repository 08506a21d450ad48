"""What a page is marked with does not depend on which pages were drawn before it: MuPDF complains of what pages share
when it loads it, and of an odd page at its first look at the page tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quire.rasterize.mupdf import MupdfDocument
from tests import documents

PAGE = b"<</Type/Page/Parent 2 0 R/Contents 4 0 R>>"
WITHOUT_TYPE = b"<</Parent 2 0 R/Contents 4 0 R>>"
CONTENTS = b"<</Length 41>>stream\nBT /F 20 Tf 72 400 Td (Shown here) Tj ET \nendstream"
FONT = b"<</Type/Font/Subtype/TrueType/BaseFont/A/FontDescriptor 8 0 R/Encoding/WinAnsiEncoding%s>>"
WIDTHS = b"/FirstChar 32/LastChar 33/Widths[500 500]"
DESCRIPTOR = b"<</Type/FontDescriptor/FontName/A/Flags 32/FontBBox[0 0 1000 1000]/StemV 80/FontFile2 9 0 R>>"
NO_FONT_FILE = b"<</Length 5>>stream\nnoise\nendstream"
SOUND_FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def tree(kids: bytes, num_pages: int, font: bytes) -> bytes:
    """Objects: 3 is a page, 5 one that does not say so, 6 is none, 99 is not there."""
    shared = b"/MediaBox[0 0 595 842]/Resources<</Font<</F 7 0 R>>>>"
    return documents.raw_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[%s]/Count %d%s>>" % (kids, num_pages, shared),
            PAGE,
            CONTENTS,
            WITHOUT_TYPE,
            SOUND_FONT,
            font,
            DESCRIPTOR,
            NO_FONT_FILE,
        ]
    )


BROKEN_FONT = "ignored error when loading embedded font"
# a document, and what is said of each of its pages
CASES = {
    "odd neighbours": (
        tree(b"3 0 R 99 0 R 5 0 R 6 0 R 3 0 R", 5, SOUND_FONT),
        ["", "the page is no dictionary", "", "what should be the page is none", ""],
    ),
    "a broken font": (tree(b"3 0 R 5 0 R 3 0 R", 3, FONT % WIDTHS), [BROKEN_FONT] * 3),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("turn", [1, -1], ids=["forwards", "backwards"])
def test_a_mark_does_not_depend_on_what_was_drawn_before(write: Callable[..., Path], case: str, turn: int) -> None:
    data, said = CASES[case]
    with write(data).open("rb") as file:
        document = MupdfDocument(file)
        for index in range(document.num_pages)[::turn]:
            damage = document.render(index, "tiny", 1_000_000).damage
            assert said[index] in damage and bool(damage) == bool(said[index]), index
        document.close()
