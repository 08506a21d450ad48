"""Probing through a sandbox: every state that a document can be in."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
from PIL import features

from quire.config.sections import RenderSettings
from quire.rasterize import media_type
from quire.rasterize.images import ImageDocument
from quire.rasterize.probe import Probe, probe
from quire.rasterize.sandbox import Sandbox
from quire.rasterize.views import RenderFailure
from quire.rasterize.worker import RenderWorker
from quire.records import DocumentStatus
from tests import documents
from tests.rasterize.faults import write_faults

Write = Callable[..., Path]
Make = Callable[..., Sandbox]
OK, TRUNCATED, CORRUPT = DocumentStatus.OK, DocumentStatus.TRUNCATED, DocumentStatus.CORRUPT
EMPTY, UNSUPPORTED, ENCRYPTED = DocumentStatus.EMPTY, DocumentStatus.UNSUPPORTED, DocumentStatus.ENCRYPTED

PDF_10 = documents.pdf([documents.LINE] * 10)
JPEG = documents.image(file_format="JPEG")
PNG = documents.image()
TIFF = documents.tiff(3)
GIF = documents.image(mode="P", file_format="GIF")
BMP = documents.image(file_format="BMP")
FAX = documents.image(mode="1", file_format="TIFF", compression="group4")
HEIC = documents.heic()
AVIF = documents.image(file_format="AVIF")
JP2 = documents.image(file_format="JPEG2000")
J2K = documents.image(file_format="JPEG2000", no_jp2=True)
PBM, PGM, PPM = (documents.image(mode=mode, file_format="PPM") for mode in ("1", "L", "RGB"))
PLAIN_PGM = b"P2\n# by hand\n3 2\n255\n0 128 255\n0 128 255\n"


@pytest.mark.parametrize(
    ("name", "data", "kind", "num_pages", "status"),
    [
        ("plain.pdf", PDF_10, "application/pdf", 10, OK),
        ("no extension", PDF_10, "application/pdf", 10, OK),
        ("junk before the header.pdf", b"junk\n" * 100 + PDF_10, "application/pdf", 10, OK),
        ("zero.pdf", b"", "", 0, EMPTY),
        ("text.pdf", b"Dear reader,\nthis is no PDF.\n", "", 0, UNSUPPORTED),
        ("word.bmp", b"BMW and Audi sold fewer cars than expected this year", "", 0, UNSUPPORTED),
        ("header only.pdf", b"%PDF-1.7\nnot much\n%%EOF\n", "application/pdf", 0, CORRUPT),
        ("header and nothing.pdf", b"%PDF-1.7\nnot much", "application/pdf", 0, TRUNCATED),
        ("no pages.pdf", documents.page_tree_pdf(0, 0), "application/pdf", 0, EMPTY),
        ("cut.pdf", PDF_10[: len(PDF_10) * 2 // 3], "application/pdf", None, TRUNCATED),
        ("zeros behind.pdf", PDF_10 + b"\0" * 4000, "application/pdf", 10, OK),
        ("a web page behind.pdf", PDF_10 + b"<html>endless</html>\n" * 400, "application/pdf", 10, OK),
        ("cut after an update.pdf", PDF_10 + PDF_10[: len(PDF_10) * 2 // 3], "application/pdf", None, TRUNCATED),
        ("million pages.pdf", documents.page_tree_pdf(1_000_000, 3), "application/pdf", 3, OK),
        ("negative pages.pdf", documents.page_tree_pdf(-1, 2), "application/pdf", 2, OK),
        ("user password.pdf", documents.encrypted_pdf("secret"), "application/pdf", 0, ENCRYPTED),
        ("owner password.pdf", documents.encrypted_pdf(), "application/pdf", 1, OK),
        ("picture.png", PNG, "image/png", 1, OK),
        ("jpeg named.png", JPEG, "image/jpeg", 1, OK),
        ("webp named.jpg", documents.image(file_format="WEBP"), "image/webp", 1, OK),
        ("bitmap", documents.image(file_format="BMP"), "image/bmp", 1, OK),
        ("frames.tif", TIFF, "image/tiff", 3, OK),
        ("cut.jpg", JPEG[: len(JPEG) // 2], "image/jpeg", 1, TRUNCATED),
        ("cut early.jpg", JPEG[:40], "image/jpeg", 0, TRUNCATED),
        ("cut.png", PNG[: len(PNG) // 2], "image/png", 1, TRUNCATED),
        ("cut.gif", GIF[: len(GIF) // 2], "image/gif", 1, TRUNCATED),
        ("cut.bmp", BMP[: len(BMP) // 2], "image/bmp", 1, TRUNCATED),
        ("cut.tif", FAX[: len(FAX) // 2], "image/tiff", 0, TRUNCATED),
        ("whole.tif", FAX, "image/tiff", 1, OK),
        ("cut.heic", HEIC[: len(HEIC) // 2], "image/heic", None, TRUNCATED),
        ("whole.heic", HEIC, "image/heic", 1, OK),
        ("whole.gif", GIF, "image/gif", 1, OK),
        ("junk behind.bmp", BMP + b"\0" * 5000, "image/bmp", 1, OK),
        ("junk behind.jpg", JPEG + b"\0" * 5000, "image/jpeg", 1, OK),
        ("picture.avif", AVIF, "image/avif", 1, OK),
        ("another brand.avif", AVIF.replace(b"ftypavif", b"ftypmif1"), "image/avif", 1, OK),
        ("cut.avif", AVIF[: len(AVIF) // 2], "image/avif", 0, TRUNCATED),
        ("cut at its end.avif", AVIF[:-4], "image/avif", None, TRUNCATED),
        ("junk behind.avif", AVIF + b"\0" * 5000, "image/avif", 1, OK),
        ("picture.jp2", JP2, "image/jp2", 1, OK),
        ("codestream.j2k", J2K, "image/jp2", 1, OK),
        ("cut.jp2", JP2[: len(JP2) // 2], "image/jp2", 1, TRUNCATED),
        ("cut.j2k", J2K[: len(J2K) // 2], "image/jp2", 1, TRUNCATED),
        ("cut early.j2k", J2K[:50], "image/jp2", None, TRUNCATED),
        ("junk behind.jp2", JP2 + b"\0" * 5000, "image/jp2", 1, OK),
        ("picture.pbm", PBM, "image/x-portable-anymap", 1, OK),
        ("picture.pgm", PGM, "image/x-portable-anymap", 1, OK),
        ("picture.ppm", PPM, "image/x-portable-anymap", 1, OK),
        ("numbers.pgm", PLAIN_PGM, "image/x-portable-anymap", 1, OK),
        ("comment.pgm", PGM.replace(b"P5\n", b"P5 # a scan\r\n", 1), "image/x-portable-anymap", 1, OK),
        ("cut.pbm", PBM[:-1], "image/x-portable-anymap", 1, TRUNCATED),
        ("cut.pgm", PGM[:-1], "image/x-portable-anymap", 1, TRUNCATED),
        ("cut.ppm", PPM[: len(PPM) // 2], "image/x-portable-anymap", 1, TRUNCATED),
        (
            "16 bits, cut.pgm",
            documents.image(mode="I;16", file_format="PPM")[:-1],
            "image/x-portable-anymap",
            1,
            TRUNCATED,
        ),
        ("junk behind.ppm", PPM + b"\0" * 5000, "image/x-portable-anymap", 1, OK),
        ("words.ppm", b"P5 is the largest of the 5 pumps, and P6 the next", "", 0, UNSUPPORTED),
        ("broken.tif", b"II*\0\x08\0\0\0" + b"\xff" * 100, "image/tiff", 0, CORRUPT),
    ],
)
def test_status(
    write: Write, name: str, data: bytes, kind: str, num_pages: int | None, status: DocumentStatus
) -> None:
    with write(data, name).open("rb") as file:
        found = probe(file, (), ("mupdf", "pdfium"), 50_000_000)
    assert (found.media_type, found.status) == (kind, status), found.detail
    assert num_pages is None or found.num_pages == num_pages
    assert bool(found.detail) or status is OK
    assert "/" not in found.detail.replace("application/pdf", ""), "no path of a temporary file"


@pytest.mark.parametrize("data", [documents.pdf(), documents.image(), b"", b"neither"])
async def test_a_sandbox_finds_the_same(sandbox: Sandbox, write: Write, data: bytes) -> None:
    path = write(data)
    with path.open("rb") as file:
        assert await sandbox.probe(path) == probe(file, (), ("mupdf", "pdfium"), 50_000_000)


@pytest.mark.parametrize(("kind", "part"), [(media_type.AVIF, "avif"), (media_type.JPEG_2000, "jpg_2000")])
def test_formats_that_pillow_was_built_without(
    write: Write, monkeypatch: pytest.MonkeyPatch, kind: str, part: str
) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != part)
    with write(AVIF if kind == media_type.AVIF else JP2).open("rb") as file:
        found = probe(file, (), (), 50_000_000)
    assert (found.media_type, found.status) == (kind, UNSUPPORTED)
    assert f"without {part}: pip install" in found.detail


def test_what_an_image_file_holds_beside_its_page_is_told(write: Write) -> None:
    animations = [documents.animation(file_format) for file_format in ("GIF", "WEBP", "PNG", "AVIF")]
    cases = dict.fromkeys(animations, "2 frames") | dict.fromkeys((PGM + PGM, PBM + b"\n" + PBM), "several images")
    for data, words in cases.items():
        with write(data).open("rb") as file:
            found = probe(file, (), (), 50_000_000)
        assert (found.status, found.num_pages) == (OK, 1)
        assert found.detail == f"{words}, of which the first is read"


def test_an_image_that_pillow_refuses_to_open_is_too_large(write: Write) -> None:
    with write(documents.image((1200, 1200), "L")).open("rb") as file:
        found = probe(file, (), (), max_pixels=10_000)
    assert (found.media_type, found.status) == ("image/png", DocumentStatus.TOO_LARGE)


async def test_a_cut_pdf_gives_the_pages_that_are_left(sandbox: Sandbox, write: Write) -> None:
    found = await sandbox.probe(write(PDF_10[: PDF_10.rfind(b"startxref")]))
    assert (found.status, found.num_pages) == (TRUNCATED, 10)


async def test_passwords_are_tried_and_not_told(make_sandbox: Make, write: Write) -> None:
    path = write(documents.encrypted_pdf("secret"))
    for passwords, status in ((("guess", "secret"), OK), (("guess", "other"), ENCRYPTED)):
        sandbox = make_sandbox(None, *passwords)
        found = await sandbox.probe(path)
        assert found.status == status
        assert "guess" not in found.detail


async def test_metadata_is_cleaned(sandbox: Sandbox, write: Write) -> None:
    document = pymupdf.open()
    document.new_page()
    document.set_metadata({"title": "天\x00 title\x07", "author": "x" * 2000, "creationDate": "D:20240102"})
    found = await sandbox.probe(write(document.tobytes()))
    document.close()
    metadata = dict(found.metadata)
    assert metadata["title"] == "天 title"
    assert len(metadata["author"]) == 500
    assert metadata["creation_date"] == "D:20240102"


async def test_metadata_does_not_depend_on_the_renderer(make_sandbox: Make, write: Write) -> None:
    document = pymupdf.open()
    document.new_page()
    document.set_metadata({"title": "T", "author": "A", "producer": "P", "modDate": "D:20240102"})
    path = write(document.tobytes())
    document.close()
    found = []
    for renderer in ("mupdf", "pdfium"):
        sandbox = make_sandbox(RenderSettings(renderer=renderer))
        found.append(await sandbox.probe(path))
    assert sorted(found[0].metadata) == sorted(found[1].metadata)


def zipped(*names: str, first: str = "") -> bytes:
    """An archive whose files are empty, but for one that says what it is, before all others."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        if first:
            archive.writestr("mimetype", first)
        for name in names:
            archive.writestr(name, "")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (zipped("[Content_Types].xml", *map(str, range(2000)), "word/document.xml"), "a Word document (docx)"),
        (zipped("_rels/.rels", "xl/workbook.xml"), "an Excel workbook (xlsx)"),
        (zipped("ppt/presentation.xml"), "a PowerPoint presentation (pptx)"),
        (zipped("content.xml", first="application/vnd.oasis.opendocument.text"), "an OpenDocument text"),
        (zipped(first="application/epub+zip"), "an EPUB book"),
        (zipped("scans/1.pdf"), "a ZIP archive"),
        (b"PK\3\4", "a ZIP archive"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            "an Office document as before 2007 (doc, xls, ppt or msg)",
        ),
        (b"{\\rtf1\\ansi Dear reader}", "an RTF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a PostScript document"),
        (b"AT&TFORM\0\0\1\0DJVM", "a DjVu document"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjpm ", "a film or a layered document of JPEG 2000"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomavc1", "a film"),
        (b"\xff\x0a\xfa\x7f\x01", "a JPEG XL image"),
        (b"\n\5\1\x08\0\0\0\0", "a PCX image"),
        (b"P7\nWIDTH 1\n", "a PAM image"),
        (b"folder/scan.pdf" + bytes(242) + b"ustar\x0000", "a tar archive"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><invoice/>", "an XML file"),
        (b"\n<!DOCTYPE html><p>words", "an HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"Received: from a.example by b.example\r\nSubject: scans\r\n", "an e-mail"),
        ("Liebe Leserin, größere Wörter".encode(), "plain text"),
        (b"x" * 1023 + "ö".encode(), "plain text"),  # the head ends within a letter
        (b"\n\5 and more", ""),
        (bytes(range(200, 256)), ""),
    ],
)
def test_what_is_not_read_is_named(write: Write, data: bytes, name: str) -> None:
    with write(data).open("rb") as file:
        found = probe(file, (), (), 0)
    words = (
        f"seems to be {name}, which is not read" if name else "neither a PDF nor an image of a type that is read"
    )
    assert (found.media_type, found.status, found.detail) == ("", UNSUPPORTED, words)


PORTFOLIO = b"/Collection<</Type/Collection/View/T>>"
SEVEN = [b"%d.csv" % number for number in range(7)]


@pytest.mark.parametrize("renderer", ["mupdf", "pdfium"])
@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize(
    ("made", "words", "num_files"),
    [
        ({}, "", 0),
        ({"catalog": PORTFOLIO}, "", 0),
        ({"attached": [b"a.xml"]}, "1 embedded file is not read (a.xml)", 1),
        ({"attached": [b"a.xml"], "is_flat": True}, "1 embedded file is not read (a.xml)", 1),
        ({"annotated": [b"b.pdf"]}, "1 embedded file is not read (b.pdf)", 1),
        (
            {"attached": [b"a.xml", b"c.doc"], "annotated": [b"b.pdf", b"a.xml"]},
            "3 embedded files are not read (a.xml, c.doc, b.pdf)",
            3,
        ),
        ({"attached": SEVEN}, "7 embedded files are not read (0.csv, 1.csv, 2.csv, 3.csv, 4.csv, …)", 7),
        (
            {"attached": SEVEN[:2], "catalog": PORTFOLIO},
            "a portfolio, whose pages may be no more than a cover: 2 embedded files are not read (0.csv, 1.csv)",
            2,
        ),
        (
            {"attached": [b"\xfe\xff\x65\xe5\x20\x2e\x00\x07", b"x" * 500, b"\n"]},  # turned around, a bell
            f"3 embedded files are not read (日, {'x' * 60}, without a name)",
            3,
        ),
    ],
)
def test_files_inside_are_told_of(
    write: Write, renderer: str, is_compressed: bool, made: dict[str, Any], words: str, num_files: int
) -> None:
    data = documents.pdf_with_files(**made)
    if is_compressed:
        data = pymupdf.open(stream=data, filetype="pdf").tobytes(use_objstms=True, deflate=True)
        assert b"FileAttachment" not in data
    with write(data).open("rb") as file:
        found = probe(file, (), (renderer,), 0)
    assert (found.status, found.num_pages, found.detail) == (OK, 1, words)
    assert int(dict(found.metadata).get("num_embedded_files", 0)) == num_files


@pytest.mark.parametrize("renderer", ["mupdf", "pdfium"])
def test_of_a_hundred_thousand_files_inside_a_thousand_are_counted(write: Write, renderer: str) -> None:
    with write(documents.pdf_with_files([b"a"] * 100_000)).open("rb") as file:
        found = probe(file, (), (renderer,), 0)
    assert found.detail == "1000 or more embedded files are not read (a, a, a, a, a, …)"


async def test_heic(sandbox: Sandbox, write: Write) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(documents.drawing((400, 600))).save(buffer)
    found = await sandbox.probe(write(buffer.getvalue()))
    assert (found.media_type, found.num_pages, found.status) == ("image/heic", 1, OK)


def test_heic_without_its_library(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    path = write(b"\0\0\0\x18ftypheic")
    with path.open("rb") as file, pytest.raises(RenderFailure, match="pip install pillow-heif"):
        ImageDocument(file, media_type.HEIC, 1000)


@pytest.mark.parametrize("fault", ["hang", "abort", "exit", "nonsense"])
async def test_a_probe_that_kills_its_reader(faulty: Sandbox, write: Write, fault: str) -> None:
    path = write(documents.pdf())
    write_faults(path, {"probe:mupdf": fault, "probe:pdfium": fault})
    found = await faulty.probe(path)
    assert found == Probe("application/pdf", 0, CORRUPT, found.detail)
    words = {"hang": "hung", "abort": "SIGABRT", "exit": "exit status 3", "nonsense": "no sense"}
    assert words[fault] in found.detail


async def test_what_a_reader_says_as_it_ends_holds_nothing_of_this_installation(
    faulty: Sandbox, write: Write
) -> None:
    path = write(documents.pdf())
    write_faults(path, {"probe:mupdf": "raise", "probe:pdfium": "raise"})
    detail = (await faulty.probe(path)).detail
    assert detail.endswith("; last words: RuntimeError: said no)") and ".py" not in detail


def test_what_a_reader_raises_ends_no_process(tmp_path: Path) -> None:
    worker = RenderWorker({"max_pixels": 10**6, "passwords": [], "renderers": []}, np.zeros(0, np.uint8))
    folder = os.open(tmp_path, os.O_RDONLY)
    reply = worker.handle({"op": "probe", "fd": folder, "renderers": ["mupdf"]})
    os.close(folder)
    assert "directory" in reply["failure"]["message"] and str(tmp_path) not in reply["failure"]["message"]


@pytest.mark.parametrize("renderer", ["mupdf", "pdfium"])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (PDF_10, OK),
        (PDF_10[: PDF_10.rfind(b"%%EOF")], OK),
        (PDF_10[: PDF_10.rfind(b"startxref")], TRUNCATED),
        (PDF_10[: len(PDF_10) * 2 // 3], TRUNCATED),
        (PDF_10.replace(b"startxref\n", b"startxref\n9"), OK),  # damaged, and whole
    ],
)
def test_whether_a_pdf_is_cut_short_depends_on_no_renderer(
    renderer: str, data: bytes, status: DocumentStatus, write: Write
) -> None:
    with write(data).open("rb") as file:
        found = probe(file, (), [renderer], 10**6)
    assert found.status is status and (found.num_pages == 10 or status is TRUNCATED)


async def test_words_hold_nothing_that_is_different_the_next_time(sandbox: Sandbox, write: Write) -> None:
    path = write(b"II*\x00\x08\x00\x00\x00" + b"\0" * 6 + b"no directory")
    assert (await sandbox.probe(path)).detail == "the image cannot be opened: cannot identify image file"


@pytest.mark.parametrize("fault", ["hang", "abort"])
async def test_the_second_reader_is_asked_where_the_first_dies(faulty: Sandbox, write: Write, fault: str) -> None:
    path = write(documents.pdf())
    write_faults(path, {"probe:mupdf": fault})
    assert (await faulty.probe(path)).status is OK


async def test_a_file_that_is_gone(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await sandbox.probe(tmp_path / "nothing")
