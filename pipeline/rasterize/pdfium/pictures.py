"""Whether pdfium could draw a page's pictures: it leaves out what it cannot decode, or what was cut off, silently.

Knows pdfium's objects of a page and how the usual encodings end; does not render. Cannot tell that a fax picture was
cut off: its rest is white.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import pypdfium2
import pypdfium2.raw as raw

from quire.rasterize import facts
from quire.rasterize.media_type import is_jpeg_cut_short
from quire.records import Pixels

_LEAST_SHARE = 0.02  # of the page: smaller pictures are ornaments
_MOST_PICTURES = 16  # of a page that are checked
_HARDLY_ANY_INK = 0.005  # of a picture's area: a stamp or a page number over a missing picture
_PLAIN = ("", "Crypt", "FlateDecode", "LZWDecode", "RunLengthDecode", "ASCII85Decode", "ASCIIHexDecode")
"""Encodings of plain pixels, whose number of bytes follows from the picture's size."""


def pictures_of(objects: Sequence[Any]) -> Iterator[Any]:
    return (item for item in objects if item.type == raw.FPDF_PAGEOBJ_IMAGE)


def damage_of(page: Any, objects: Sequence[Any], pixels: Pixels) -> str:
    """What is wrong with the page's larger pictures, in words; "" mostly. `pixels`: the page as it was drawn."""
    large = [item for item in pictures_of(objects) if _share(item, page) >= _LEAST_SHARE][:_MOST_PICTURES]
    return "; ".join(dict.fromkeys(filter(None, (_damage(item, page, pixels) for item in large))))


def _damage(item: Any, page: Any, pixels: Pixels) -> str:
    filters = item.get_filters()
    last = filters[-1] if filters else ""
    if last == "DCTDecode" and is_jpeg_cut_short(bytes(item.get_data(decode_simple=True))):
        return "premature end of a picture (DCTDecode)"
    if last in _PLAIN and len(item.get_data(decode_simple=True)) < _num_bytes(item):
        return f"premature end of a picture ({last or 'no filter'})"
    # Decoding again costs as much as drawing: only where hardly anything of the picture shows.
    if facts.ink_share(_under(item, page, pixels)) < _HARDLY_ANY_INK and not _is_decodable(item):
        return f"a picture cannot be decoded ({last})"
    return ""


def _share(item: Any, page: Any) -> float:
    return facts.cover_share([item.get_bounds()], page.get_bbox())


def _num_bytes(item: Any) -> int:
    """Bytes of the picture as the page's file holds it: rows end on whole bytes."""
    width, height = item.get_px_size()
    return height * ((width * item.get_metadata().bits_per_pixel + 7) // 8)


def _is_decodable(item: Any) -> bool:
    try:
        item.get_bitmap()
    except pypdfium2.PdfiumError:
        return False
    return True


def _under(item: Any, page: Any, pixels: Pixels) -> Pixels:
    """The part of the drawn page where the picture lies, at least a pixel of it."""
    height, width = pixels.shape[:2]
    left, bottom, right, top = item.get_bounds()
    corners = [_on_device(page, (width, height), corner) for corner in ((left, bottom), (right, top))]
    x0, x1 = sorted(min(max(x, 0), width) for x, _ in corners)
    y0, y1 = sorted(min(max(y, 0), height) for _, y in corners)
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    return pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _on_device(page: Any, size_px: tuple[int, int], point: tuple[float, float]) -> tuple[int, int]:
    """A point of the page on the drawn page, which may be turned."""
    x, y = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, *size_px, 0, *point, x, y)
    return x.value, y.value
