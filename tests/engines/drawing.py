"""Pages drawn by code, as page images at 150 dpi."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pymupdf

from quire.records import PageImage, Pixels

PROSE = (
    "The harbour was built in three stages. First the old quay was repaired, then a new wall was drawn "
    "across the bay, and in the last year two lights were set upon it. Every ship that passed had to pay "
    "for its place by the length of its keel. "
)
OTHER_PROSE = (
    "Winter storms broke the outer wall twice. Both times the masons came back with heavier stones, and "
    "the merchants complained about the price. Nobody has seen a bill for the second repair, although it "
    "must have been a large one. "
)
SHEET_PT = (612, 396)  # half a letter, which engines read in half the time


def two_columns() -> Pixels:
    page = _page()
    _write(page, (72, 40, 540, 80), "A History of the Harbour", size=22)
    _write(page, (72, 100, 294, 390), PROSE)
    _write(page, (318, 100, 540, 390), OTHER_PROSE)
    return render(page)


def one_column() -> Pixels:
    page = _page()
    _write(page, (72, 72, 540, 390), PROSE)
    return render(page)


def table(rows: Sequence[tuple[str, ...]], column_pt: float = 110, size: float = 11) -> Pixels:
    page = _page()
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            page.insert_text((72 + column * column_pt, 100 + number * 2 * size), cell, fontsize=size)
    return render(page)


def spaced_alike(rows: Sequence[tuple[str, ...]], size: float = 17) -> Pixels:
    """Lines whose word spaces, of the usual width, lie under one another."""
    page = _page()
    font = pymupdf.Font("helv")
    x = 72.0
    for words in zip(*rows, strict=True):
        for number, word in enumerate(words):
            page.insert_text((x, 60 + number * 36), word, fontsize=size)
        x += max(font.text_length(word, size) for word in words) + 0.5 * size
    return render(page)


def bulleted(items: list[str]) -> Pixels:
    page = _page()
    for number, item in enumerate(items):
        y = 100 + number * 20
        page.draw_circle((80, y - 4), 2, fill=(0, 0, 0))
        page.insert_text((92, y), item, fontsize=11)
    return render(page)


def photo() -> Pixels:
    """Soft shades without a line of text."""
    y, x = np.mgrid[0:900, 0:700]
    sky, field = 120 + 60 * y / 900, 200 - 80 * (x + y) / 1600
    shade = np.where(y < 500 + 40 * np.sin(x / 200), sky, field)
    return np.stack([shade * 0.9, shade, 250 - shade], axis=2).astype(np.uint8)


def as_page(pixels: Pixels, content_box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)) -> PageImage:
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return PageImage("drawn", 0, "native", width, height, 0, 0, 0, 150.0, digest, (pixels,), content_box)


def render(page: pymupdf.Page) -> Pixels:
    pixmap = page.get_pixmap(dpi=150, alpha=False)
    return np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3).copy()


def _page() -> pymupdf.Page:
    return pymupdf.open().new_page(width=SHEET_PT[0], height=SHEET_PT[1])


def _write(page: pymupdf.Page, box: tuple[float, ...], text: str, size: float = 11) -> None:
    page.insert_textbox(pymupdf.Rect(box), text, fontsize=size)
