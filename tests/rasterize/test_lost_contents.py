"""A page whose contents are lost is not blank, though every renderer draws nothing of it and none complains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quire.config.sections import RenderSettings
from quire.rasterize.sandbox import Sandbox
from tests import documents
from tests.rasterize.rasterizing import render_one

Write = Callable[..., Path]
Make = Callable[..., Sandbox]

LINE_STREAM = b"<</Length 34>>stream\nBT /F 20 Tf 72 400 Td (Lost) Tj ET\nendstream"
RESOURCES = b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>/XObject<</X 5 0 R>>>>"
DRAWS_X = b"<</Length 5>>stream\n/X Do\nendstream"


def page(entries: bytes, stream: bytes = LINE_STREAM, page_number: int = 3, more: tuple[bytes, ...] = ()) -> bytes:
    """A page whose line of text should be object 4; `more` are the objects from 5 on."""
    return documents.raw_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[%d 0 R]/Count 1>>" % page_number,
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]%s%s>>" % (RESOURCES, entries),
            stream,
            *more,
        ]
    )


def x_object(subtype: bytes) -> bytes:
    return b"<</Type/XObject/Subtype/%s/Length 1>>stream\n \nendstream" % subtype


LOST = {
    "a reference that leads nowhere": page(b"/Contents 99 0 R"),
    "a number": page(b"/Contents 2147483647"),
    "a name": page(b"/Contents/FlateDecode"),
    "null": page(b"/Contents null"),
    "a dictionary": page(b"/Contents 1 0 R"),
    "a list of what is not there": page(b"/Contents[98 0 R 99 0 R]"),
    "a list of what is no stream": page(b"/Contents[1 0 R]"),
    "another name": page(b"/Conten\xe1s 4 0 R"),
    "another file": page(b"/Contents 4 0 R", b"<</Length 0/F(elsewhere.bin)>>stream\n\nendstream"),
    "an object that is no picture": page(b"/Contents 4 0 R", DRAWS_X, more=(x_object(b"CIDFontType2"),)),
    "no page": page(b"/Contents 4 0 R", page_number=99),
    "a catalog for a page": page(b"/Contents 4 0 R", page_number=1),
}
EMPTY = {
    "no contents": page(b""),
    "no parts": page(b"/Contents[]"),
    "an abbreviated filter": page(b"/Contents 4 0 R", b"<</Length 1/F/ASCIIHexDecode>>stream\n>\nendstream"),
    "a program for printers": page(b"/Contents 4 0 R", DRAWS_X, more=(x_object(b"PS"),)),
    "metadata alone": page(b"/Metadata 4 0 R"),
    "empty contents": documents.content_pdf(b"/MediaBox[0 0 595 842]", b""),
    "a page of a library": documents.pdf([""]),
}


@pytest.fixture(params=["mupdf", "pdfium"])
def both(request: pytest.FixtureRequest, make_sandbox: Make) -> Sandbox:
    """Whichever goes first."""
    return make_sandbox(RenderSettings(renderer=request.param))


async def test_what_is_lost_fails(both: Sandbox, write: Write) -> None:
    for name, data in LOST.items():
        lost = await render_one(both, write(data), "tiny")
        assert lost.failure is not None, name
        assert lost.failure.stage == "rasterize" and lost.failure.message, name


async def test_what_is_empty_is_blank(both: Sandbox, write: Write) -> None:
    for name, data in EMPTY.items():
        blank = await render_one(both, write(data), "tiny")
        assert (blank.failure, blank.marks) == (None, ()), name
        assert blank.facts is not None and not blank.facts.has_ink, name


async def test_lost_contents_under_an_annotation_leave_a_mark(make_sandbox: Make, write: Write) -> None:
    """By MuPDF, which goes first; where pdfium does, it has something to show, and nobody else is asked."""
    square = b"/Annots[<</Type/Annot/Subtype/Square/Rect[50 50 300 300]/AP<</N 5 0 R>>/F 4>>]"
    drawn = (
        b"<</Type/XObject/Subtype/Form/BBox[0 0 250 250]/Length 27>>stream\n1 0 0 rg 0 0 250 250 re f \nendstream"
    )
    data = page(b"/Contents 99 0 R" + square, more=(drawn,))
    marked = await render_one(make_sandbox(RenderSettings()), write(data), "tiny")
    assert marked.failure is None
    assert [(mark.kind, mark.message) for mark in marked.marks] == [
        ("damaged", "mupdf: the page's contents, or a part of them, are no stream")
    ]
