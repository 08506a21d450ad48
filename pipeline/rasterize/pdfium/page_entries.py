"""What pdfium does not tell of a page: its UserUnit, and a media box that it inherits. Read from a copy of the page.

Does not render.
"""

from __future__ import annotations

import io
import mmap
import re
import zlib
from pathlib import Path
from typing import Any

import pypdfium2

_USER_UNIT = b"UserUnit"
_ENTRY = re.compile(rb"/UserUnit\s+(\d*\.?\d+)")
_OBJECT_STREAM = re.compile(rb"/ObjStm.*?stream\r?\n", re.DOTALL)
_MAX_OBJECT_STREAM_BYTES = 64 << 20


class PageEntries:
    """Of a document that pdfium holds open. A copy of a page holds all that the page shows, so it is made for documents
    alone that may have what is looked for."""

    def __init__(self, document: Any, path: Path) -> None:
        self._document = document
        self._may_have_units = _may_have_units(path)

    def user_unit(self, page_index: int) -> float:
        """How many points one unit of the page's boxes is (PDF 1.6 and later): 1 but for large sheets."""
        if not self._may_have_units:
            return 1.0
        buffer = io.BytesIO()
        with self._copy(page_index) as copy:
            copy.save(buffer)
        found = _ENTRY.search(buffer.getvalue())
        return float(found[1]) or 1.0 if found else 1.0

    def media_box(self, page_index: int) -> tuple[float, float, float, float]:
        """Inherited ones are the page's own in a copy."""
        with self._copy(page_index) as copy:
            left, bottom, right, top = copy[0].get_mediabox()
        return min(left, right), min(bottom, top), max(left, right), max(bottom, top)

    def _copy(self, page_index: int) -> Any:
        copy = pypdfium2.PdfDocument.new()
        copy.import_pages(self._document, [page_index])
        return copy


def _may_have_units(path: Path) -> bool:
    """Whether a page may say so: in plain sight, or inside a compressed object stream."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(_USER_UNIT) >= 0 or any(
            _may_name_units(data, found.end()) for found in _OBJECT_STREAM.finditer(data)
        )


def _may_name_units(data: mmap.mmap, start: int) -> bool:
    packed = data[start : data.find(b"endstream", start)]
    try:
        unpacked = zlib.decompressobj().decompress(packed, _MAX_OBJECT_STREAM_BYTES)
    except zlib.error:  # encrypted, or packed in another way
        return True
    return _USER_UNIT in unpacked
