"""Pages whose picture is broken: never blank, never without a mark. In each encoding, cut and made of noise, alone on
its page and under a stamp, whichever renderer goes first, or alone."""

from __future__ import annotations

import io
import random
import struct
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from quire.config.sections import RenderSettings
from quire.rasterize.sandbox import Sandbox
from tests import documents
from tests.rasterize.rasterizing import render_one

Write = Callable[..., Path]
Make = Callable[..., Sandbox]

SIZE = (600, 850)
NOISE = random.Random(5).randbytes(4000)
JBIG2_PAGE = struct.pack(">IBBBI", 0, 48, 0, 1, 19) + struct.pack(">IIIIBH", *SIZE, 0, 0, 0, 0)


@cache
def encoded(file_format: str) -> bytes:
    """A picture of some lines of text, all of it."""
    picture = documents.drawing(SIZE).convert("1" if file_format == "group4" else "L")
    if file_format == "flate":
        return zlib.compress(picture.tobytes())
    buffer = io.BytesIO()
    if file_format != "group4":
        picture.save(buffer, file_format)
        return buffer.getvalue()
    picture.save(buffer, "TIFF", compression="group4", strip_size=1 << 30)
    tags = Image.open(io.BytesIO(buffer.getvalue())).tag_v2  # type: ignore[attr-defined]
    [start], [length] = tags[273], tags[279]
    return buffer.getvalue()[start : start + length]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 10]


GROUP4 = {"bits": 1, "more": f"/DecodeParms<</K -1/Columns {SIZE[0]}/Rows {SIZE[1]}>>"}
# the picture's bytes, the name of its filter, more of its dictionary
PICTURES: dict[str, tuple[Callable[[], bytes], str, dict[str, object]]] = {
    "a JPEG, cut": (lambda: cut(encoded("jpeg")), "DCTDecode", {}),
    "a JPEG without its head": (lambda: b"xx" + encoded("jpeg")[200:], "DCTDecode", {}),
    "Flate, cut": (lambda: cut(encoded("flate")), "FlateDecode", {}),
    "Flate, then noise": (lambda: encoded("flate")[:20] + NOISE, "FlateDecode", {}),
    "JPEG 2000, cut": (lambda: cut(encoded("jpeg2000")), "JPXDecode", {}),
    "JPEG 2000, then noise": (lambda: encoded("jpeg2000")[:100] + NOISE, "JPXDecode", {}),
    "fax, cut": (lambda: cut(encoded("group4")), "CCITTFaxDecode", GROUP4),
    "noise for a fax": (lambda: NOISE, "CCITTFaxDecode", GROUP4),
    "JBIG2, then noise": (lambda: JBIG2_PAGE + NOISE, "JBIG2Decode", {"bits": 1}),
    "a filter that nobody knows": (lambda: encoded("flate"), "FooDecode", {}),
    "pixels that end too soon": (lambda: NOISE, "ASCIIHexDecode", {}),
}
WHOLE: dict[str, tuple[Callable[[], bytes], str, dict[str, object]]] = {
    "a JPEG": (lambda: encoded("jpeg"), "DCTDecode", {}),
    "Flate": (lambda: encoded("flate"), "FlateDecode", {}),
    "JPEG 2000": (lambda: encoded("jpeg2000"), "JPXDecode", {}),
    "fax": (lambda: encoded("group4"), "CCITTFaxDecode", GROUP4),
}
NOT_SEEN_BY_PDFIUM = ("fax, cut", "noise for a fax")  # which draws the rest white, and noise as it comes


def page_of(picture: tuple[Callable[[], bytes], str, dict[str, object]], stamp: str) -> bytes:
    data, filter_name, more = picture
    return documents.image_pdf(data(), *SIZE, filter_name, stamp=stamp, **more)  # type: ignore[arg-type]


@pytest.fixture(params=["mupdf first", "pdfium first", "pdfium alone"])
def one_of_three(request: pytest.FixtureRequest, make_sandbox: Make, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    if request.param == "pdfium alone":
        monkeypatch.setitem(sys.modules, "pymupdf", None)
    renderer = request.param.partition(" ")[0]
    return make_sandbox(RenderSettings(renderer=renderer))


async def test_a_broken_picture_fails_or_is_marked(one_of_three: Sandbox, write: Write) -> None:
    for name, picture in PICTURES.items():
        for stamp in ("", "Page 7"):
            page = await render_one(one_of_three, write(page_of(picture, stamp)), "small")
            kinds = [mark.kind for mark in page.marks]
            if page.renderer == "pdfium" and name in NOT_SEEN_BY_PDFIUM:
                assert page.facts is not None and page.facts.has_ink, (name, stamp)
            elif page.failure is None:
                assert kinds == ["damaged"], (name, stamp)
                assert page.facts is not None and page.facts.has_ink, (name, stamp)
            else:
                assert "nothing was drawn" in page.failure.message, (name, stamp)


async def test_a_whole_picture_has_no_mark(one_of_three: Sandbox, write: Write) -> None:
    for name, picture in WHOLE.items():
        for stamp in ("", "Page 7"):
            page = await render_one(one_of_three, write(page_of(picture, stamp)), "small")
            assert (page.failure, page.marks) == (None, ()), (name, stamp)
            assert page.facts is not None and page.facts.has_ink, (name, stamp)


async def test_a_blank_scan_is_blank_where_two_renderers_agree(one_of_three: Sandbox, write: Write) -> None:
    buffer = io.BytesIO()
    Image.new("L", SIZE, 250).save(buffer, "JPEG")
    page = await render_one(one_of_three, write(documents.image_pdf(buffer.getvalue(), *SIZE, "DCTDecode")))
    assert page.facts is not None and not page.facts.has_ink
    assert [mark.kind for mark in page.marks] == ([] if one_of_three._has_mupdf else ["unsure"])
