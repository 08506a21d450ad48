"""What pdfium does not tell of a page's dictionary, or reads in its own way: UserUnit, odd rotations, and a media box
that is inherited. Read from a copy of the page.

Does not render.
"""

from __future__ import annotations

import io
import mmap
import re
from typing import Any, BinaryIO

import pypdfium2

from quire.rasterize.pdf_text import object_texts
from quire.rasterize.source_bytes import map_bytes

_NUMBER = rb"\s*([-+]?\d*\.?\d+)"
_USER_UNIT = re.compile(rb"/UserUnit" + _NUMBER)
_ROTATE = re.compile(rb"/Rotate" + _NUMBER)


class PageEntries:
    """Of a document that pdfium holds open. A copy of a page holds all that the page shows, so it is made only for
    documents that may have such entries."""

    def __init__(self, document: Any, file: BinaryIO) -> None:
        self._document = document
        self._may_be_odd = _may_be_odd(file)

    def user_unit(self, page_index: int) -> float:
        """How many points one unit of the page's boxes is (PDF 1.6 and later): 1 but for large sheets."""
        unit = self._entry(_USER_UNIT, page_index)
        return unit if unit is not None and unit > 0 else 1.0

    def is_askew(self, page_index: int) -> bool:
        """Whether the page's rotation is no quarter turn, which counts as none."""
        return (self._entry(_ROTATE, page_index) or 0.0) % 90 != 0

    def media_box(self, page_index: int) -> tuple[float, float, float, float]:
        """In a copy, an inherited media box is the page's own."""
        with self._copy(page_index) as copy:
            left, bottom, right, top = copy[0].get_mediabox()
        return min(left, right), min(bottom, top), max(left, right), max(bottom, top)

    def _entry(self, pattern: re.Pattern[bytes], page_index: int) -> float | None:
        if not self._may_be_odd:
            return None
        buffer = io.BytesIO()
        with self._copy(page_index) as copy:
            copy.save(buffer)
        found = pattern.search(buffer.getvalue())
        return float(found[1]) if found else None

    def _copy(self, page_index: int) -> Any:
        copy = pypdfium2.PdfDocument.new()
        copy.import_pages(self._document, [page_index])
        return copy


def _may_be_odd(file: BinaryIO) -> bool:
    """Whether a page may have such entries."""
    with map_bytes(file) as data:
        return any(text is None or _says_odd(text) for text in object_texts(data))


def _says_odd(text: bytes | mmap.mmap) -> bool:
    return _USER_UNIT.search(text) is not None or any(float(value) % 90 for value in _ROTATE.findall(text))
