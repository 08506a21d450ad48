"""Draws the demo's documents: whole ones of many kinds, and broken ones that must fail.

    python -m quire.jobs.demo_documents FOLDER

writes FOLDER/documents and FOLDER/passwords.txt. Nothing here depends on the clock or on chance: drawing again
with the same libraries gives the same bytes, but for the locked documents, which are encrypted with a new salt
each time. It does not know how Quire reads what it draws.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from quire.config.extras import MUPDF, install
from quire.errors import MissingDependency
from quire.jobs import demo_prose as prose
from quire.quantities import counted

if TYPE_CHECKING:
    from PIL import Image

LISTED_PASSWORD = "quarto"
_UNLISTED_PASSWORD = "octavo"

_A4 = (0, 0, 595, 842)  # points
_COLUMN = (72, 72, 523, 770)
_LEFT, _RIGHT = (50, 60, 287, 790), (308, 60, 545, 790)
_BELOW_HEAD = 150  # where the paper's columns start on its first page
_CARD = (60, 60, 535, 780)

_CSS = """
body { font-family: serif; font-size: 11pt; line-height: 1.35; }
h1 { font-size: 19pt; } h2 { font-size: 13pt; }
"""
_PAPER_CSS = "body { font-family: serif; font-size: 11.5pt; } h1 { font-size: 17pt; } h2 { font-size: 12pt; }"
_TYPED_CSS = "body { font-family: monospace; font-size: 12pt; line-height: 1.5; }"
_LARGE_CSS = "body { font-family: sans-serif; font-size: 15pt; line-height: 1.5; }"


def draw_documents(folder: Path) -> list[Path]:
    """Write every document and the list of passwords below `folder`; return the documents' paths."""
    documents = folder / "documents"
    contents = _contents()
    for name, data in contents.items():
        (documents / name).parent.mkdir(parents=True, exist_ok=True)
        (documents / name).write_bytes(data)
    (folder / "passwords.txt").write_text(f"{LISTED_PASSWORD}\n", encoding="utf-8")
    return [documents / name for name in contents]


def _contents() -> dict[str, bytes]:
    """Every document: its path below the folder → its bytes."""
    article = _saved(_flow(prose.ARTICLE, _CSS, lambda _: [_COLUMN]), "A Sheet of Paper, Considered")
    chapters = _saved(_cards(prose.CHAPTERS, _LARGE_CSS), "The Mill")
    return {
        "article.pdf": article,
        "two-column paper.pdf": _saved(_paper(), "On the Even Colour of a Page"),
        "office/invoice 2041-B.pdf": _saved(_invoice(), "Invoice 2041-B"),
        "office/opening hours (rotated).pdf": _saved(_lying_on_its_side(), "Opening Hours"),
        "office/fax.tiff": _fax(),
        "scans/letter.pdf": _saved(_scan(prose.LETTER), ""),
        "scans/poster.png": _poster(),
        "pamphlet with a blank page.pdf": _saved(_pamphlet(), "The Blank Leaf"),
        "Bücher – książki – 書.pdf": _saved(_cards([prose.LANGUAGES], _LARGE_CSS), "Books in Other Words"),
        "locked/password is listed.pdf": _saved(_cards([prose.LOCKED], _LARGE_CSS), "", LISTED_PASSWORD),
        "locked/password is lost.pdf": _saved(_cards([prose.SEALED], _LARGE_CSS), "", _UNLISTED_PASSWORD),
        "broken/copy of the article.pdf": article,
        "broken/cut off.pdf": _cut_off(chapters),
        "broken/empty.pdf": b"",
        "broken/really a text file.pdf": b"This is a text file. Only its name says that it is a PDF.\n",
    }


def _saved(document: Any, title: str, password: str = "") -> bytes:
    """The bytes of a PDF, encrypted if a password is given."""
    document.set_metadata({"title": title, "producer": "Quire's demo"})
    options: dict[str, Any] = {"garbage": 3, "deflate": True, "no_new_id": True}
    if password:
        options |= {"encryption": _mupdf().PDF_ENCRYPT_AES_256, "user_pw": password, "owner_pw": password}
    return bytes(document.tobytes(**options))


def _mupdf() -> Any:
    """PyMuPDF, which is typed in parts only. An optional package, so not imported with this module."""
    try:
        import pymupdf
    except ImportError as exc:
        raise MissingDependency(f"the demo draws with PyMuPDF: {install([MUPDF])}") from exc
    return pymupdf


def _flow(html: str, css: str, columns_of: Callable[[int], Iterable[tuple[int, int, int, int]]]) -> Any:
    """A PDF with text that flows through columns; `columns_of` gives the columns of a page (0-based)."""
    file = io.BytesIO()
    writer = _mupdf().DocumentWriter(file)
    story = _mupdf().Story(html, user_css=css)
    has_more, page_index = True, 0
    while has_more:
        device = writer.begin_page(_mupdf().Rect(_A4))
        for column in columns_of(page_index):
            if has_more:
                has_more, _ = story.place(_mupdf().Rect(column))
                story.draw(device)
        writer.end_page()
        page_index += 1
    writer.close()
    return _mupdf().open("pdf", file.getvalue())


def _cards(htmls: Sequence[str], css: str) -> Any:
    """A PDF with one page for each text."""
    document = _mupdf().open()
    for html in htmls:
        page = document.new_page(width=_A4[2], height=_A4[3])
        page.insert_htmlbox(_mupdf().Rect(_CARD), html, css=css)
    return document


def _paper() -> Any:
    def columns_of(page_index: int) -> list[tuple[int, int, int, int]]:
        top = _BELOW_HEAD if page_index == 0 else _LEFT[1]
        return [(left, top, right, bottom) for left, _, right, bottom in (_LEFT, _RIGHT)]

    document = _flow(prose.PAPER, _PAPER_CSS, columns_of)
    head = _mupdf().Rect(_LEFT[0], _LEFT[1], _RIGHT[2], _BELOW_HEAD)
    document[0].insert_htmlbox(head, prose.PAPER_HEAD, css=_PAPER_CSS + "* { text-align: center; }")
    for number, page in enumerate(document, start=1):
        page.insert_text((294, 820), str(number), fontsize=9, fontname="tiro")
    return document


def _invoice() -> Any:
    """A letterhead, and below it a table with rules."""
    document = _cards([prose.INVOICE], _CSS)
    page = document[0]
    edges, top, row_height = (60, 280, 360, 445, 535), 260, 26
    bottom = top + row_height * len(prose.INVOICE_ROWS)
    for number, row in enumerate(prose.INVOICE_ROWS):
        y = top + row_height * number
        page.draw_line((edges[0], y), (edges[-1], y), width=0.8)
        font = "hebo" if number in (0, len(prose.INVOICE_ROWS) - 1) else "helv"
        for x, cell in zip(edges[:-1], row, strict=True):
            page.insert_text((x + 6, y + 17), cell, fontsize=11, fontname=font)
    page.draw_line((edges[0], bottom), (edges[-1], bottom), width=0.8)
    for x in edges:
        page.draw_line((x, top), (x, bottom), width=0.8)
    return document


def _lying_on_its_side() -> Any:
    """A wide page stored upright, with the note /Rotate 90 that turns it back."""
    document = _mupdf().open()
    page = document.new_page(width=_A4[2], height=_A4[3])
    page.insert_htmlbox(_mupdf().Rect(_CARD), prose.LANDSCAPE, css=_LARGE_CSS, rotate=90)
    page.set_rotation(90)
    return document


def _pamphlet() -> Any:
    document = _cards(prose.PAMPHLET, _LARGE_CSS)
    document.new_page(1, width=_A4[2], height=_A4[3])
    return document


def _cut_off(data: bytes) -> bytes:
    """A download that stopped near its end: the table of contents that every PDF ends with is missing."""
    return data[: int(len(data) * 0.9)]


def _scan(htmls: Sequence[str]) -> Any:
    """A PDF whose pages are JPEG pictures of a typed page: grey, noisy, a little crooked and out of focus."""
    document = _mupdf().open()
    for number, picture in enumerate(_pictures(_cards(htmls, _TYPED_CSS), dpi=150)):
        page = document.new_page(width=_A4[2], height=_A4[3])
        jpeg = _encoded(_photocopied(picture, seed=number), "JPEG", quality=70)
        page.insert_image(page.rect, stream=jpeg)
    return document


def _photocopied(picture: Image.Image, seed: int) -> Image.Image:
    from PIL import Image, ImageFilter

    angle = (0.9, -0.7)[seed % 2]  # degrees
    turned = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255).filter(ImageFilter.GaussianBlur(0.7))
    noise = np.random.default_rng(seed).normal(0, 9, (turned.height, turned.width))
    grey = np.asarray(turned, dtype=np.float64) * 0.82 + 30 + noise
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def _fax() -> bytes:
    """A TIFF of two black-and-white pages, compressed as fax machines do."""
    first, *others = (picture.convert("1") for picture in _pictures(_cards(prose.FAX, _LARGE_CSS), dpi=150))
    return _encoded(first, "TIFF", compression="group4", save_all=True, append_images=others, dpi=(150, 150))


def _poster() -> bytes:
    css = "body { font-family: sans-serif; font-size: 20pt; text-align: center; } h1 { font-size: 60pt; }"
    (picture,) = _pictures(_cards([prose.POSTER], css), dpi=110)
    return _encoded(picture, "PNG")


def _pictures(document: Any, dpi: int) -> list[Image.Image]:
    """Every page as a grey picture."""
    from PIL import Image

    pixmaps = [page.get_pixmap(dpi=dpi, colorspace="GRAY") for page in document]
    return [Image.frombytes("L", (pixmap.width, pixmap.height), pixmap.samples) for pixmap in pixmaps]


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Draw the demo's documents into FOLDER/documents."""
    try:
        paths = draw_documents(folder)
    except MissingDependency as exc:
        raise click.ClickException(str(exc)) from exc
    except OSError as exc:
        raise click.ClickException(f"cannot write the demo's documents: {exc}") from exc
    num_documents = counted(len(paths), "document")
    click.echo(f"{num_documents} in {folder / 'documents'}, one password in {folder / 'passwords.txt'}")


if __name__ == "__main__":
    main()
