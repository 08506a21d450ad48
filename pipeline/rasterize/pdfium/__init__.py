"""PDF pages through pdfium. The only package that imports pypdfium2.

The second renderer, for documents and pages on which MuPDF fails. It is the first one where MuPDF's licence cannot be
accepted. Does not know processes or limits.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pypdfium2
import pypdfium2.raw as raw

from quire.rasterize import facts
from quire.rasterize.modes import layout
from quire.rasterize.pdfium.page_entries import PageEntries
from quire.rasterize.pdfium.pictures import damage_of, pictures_of
from quire.rasterize.source_bytes import map_bytes
from quire.rasterize.views import RenderFailure, Rendering, WrongPassword
from quire.records import PageFacts, Pixels

_MAX_OBJECTS = 2000
"""Objects of a page that are looked at for facts: maps have hundreds of thousands."""
_PASSWORD_ERROR = 4


class PdfiumDocument:
    """A PDF held open. Raises `WrongPassword`, and pypdfium2's errors."""

    def __init__(self, file: BinaryIO, passwords: tuple[str, ...] = ()) -> None:
        self._bytes = np.frombuffer(map_bytes(file), dtype=np.uint8)
        self._document: Any = _open(self._bytes, passwords)
        self._document.init_forms()  # without it, form fields are not drawn
        self._entries = PageEntries(self._document, file)
        self._num_pages: int | None = None

    @property
    def num_pages(self) -> int:
        if self._num_pages is None:
            self._num_pages = self._count_pages()
        return self._num_pages

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        named = self._document.get_metadata_dict(skip_empty=True)
        # The names that MuPDF uses, so that a document's metadata do not depend on who opened it.
        return tuple((key[0].lower() + key[1:], str(value)) for key, value in named.items())

    def embedded_files(self, num_pages: int) -> Iterator[str]:
        names = set()
        for index in range(self._document.count_attachments()):
            names.add(name := self._document.get_attachment(index).get_name())
            yield name
        for page_index in range(min(num_pages, self.num_pages)):
            page = self._document[page_index]
            try:
                yield from (name for name in _annotated_files(self._document, page) if name not in names)
            finally:
                page.close()

    def render(self, page_index: int, mode: str, max_pixels: int) -> Rendering:
        """One page at one mode, annotations and form fields drawn, rotation applied."""
        if not 0 <= page_index < self.num_pages:
            raise RenderFailure("page_missing", f"page {page_index + 1} of {self.num_pages}")
        page = self._load(page_index)
        try:
            unit = self._entries.user_unit(page_index)
            width_pt, height_pt = (side * unit for side in page.get_size())
            chosen = layout(mode, width_pt, height_pt, max_pixels=max_pixels)
            tiled = self._draw(page, chosen.tiled_px) if chosen.num_tiles else None
            pixels = self._draw(page, chosen.content_px)
            objects = list(itertools.islice(page.get_objects(max_depth=3), _MAX_OBJECTS))
            ink_share, ink_map = facts.ink(pixels)
            page_facts = _facts(page, objects, unit, ink_share)
            return Rendering(chosen, pixels, tiled, page_facts, ink_map, damage_of(page, objects, pixels))
        finally:
            page.close()

    def close(self) -> None:
        self._document.close()

    def _load(self, page_index: int) -> Any:
        """The page. As in browsers, a crop box outside the media box is ignored, and so is a rotation that is no
        quarter turn; pdfium would make the first a page without size, and round the second."""
        page = self._document[page_index]
        is_cropped_away, is_askew = not all(page.get_size()), self._entries.is_askew(page_index)
        if is_cropped_away:
            page.set_cropbox(*self._entries.media_box(page_index))
        if is_askew:
            page.set_rotation(0)
        if not is_cropped_away and not is_askew:
            return page
        page.close()
        return self._document[page_index]

    def _count_pages(self) -> int:
        """pdfium repeats the count that the file states. A hostile one says a million, so look for the last page and,
        if it is missing, for the last one that exists."""
        low, high = 0, len(self._document)
        if high == 0 or self._has_page(high - 1):
            return high
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._has_page(middle) else (low, middle)
        return low

    def _has_page(self, page_index: int) -> bool:
        try:
            self._document[page_index].close()
        except pypdfium2.PdfiumError:
            return False
        return True

    def _draw(self, page: Any, size_px: tuple[int, int]) -> Pixels:
        width, height = size_px
        bitmap = pypdfium2.PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGR, rev_byteorder=True)
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
        place = (0, 0, width, height, 0, raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER)
        raw.FPDF_RenderPageBitmap(bitmap, page, *place)
        if self._document.formenv:
            raw.FPDF_FFLDraw(self._document.formenv, bitmap, page, *place)
        pixels: Pixels = bitmap.to_numpy().copy()
        bitmap.close()
        return pixels


def _open(data: Pixels, passwords: tuple[str, ...]) -> Any:
    """The document in these bytes, which must stay as long as it is open."""
    array = (ctypes.c_ubyte * data.size).from_address(data.ctypes.data)
    for password in (None, *passwords):
        try:
            return pypdfium2.PdfDocument(array, password=password)
        except pypdfium2.PdfiumError as exc:
            if getattr(exc, "err_code", None) != _PASSWORD_ERROR:
                raise
    raise WrongPassword


def _facts(page: Any, objects: Sequence[Any], unit: float, ink_share: float) -> PageFacts:
    """As MuPDF's, but fonts are counted by name and nothing is known about their Unicode maps. `unit`: points to a unit
    of the page's measures."""
    width, height = page.get_size()
    text_page = page.get_textpage()
    num_chars, private_use_share = facts.count_characters(text_page.get_text_range())
    sizes = [(unit * _type_size(text_page, index), 1) for index in range(0, text_page.count_chars(), 7)]
    text_page.close()
    return PageFacts(
        width_pt=unit * width,
        height_pt=unit * height,
        ink_share=ink_share,
        num_chars=num_chars,
        num_fonts=len({name for item in objects if (name := _font_name(item))}),
        private_use_share=private_use_share,
        image_cover=facts.cover_share([item.get_bounds() for item in pictures_of(objects)], page.get_bbox()),
        min_glyph_height_pt=facts.smallest_common_height(sizes),
    )


def _type_size(text_page: Any, index: int) -> float:
    """From the character's loose box: the nominal font size leaves out the scaling of the text matrix."""
    _, bottom, _, top = text_page.get_charbox(index, loose=True)
    return float(abs(top - bottom))


def _annotated_files(document: Any, page: Any) -> Iterator[str]:
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if raw.FPDFAnnot_GetSubtype(annotation) == raw.FPDF_ANNOT_FILEATTACHMENT:
            file = raw.FPDFAnnot_GetFileAttachment(annotation)
            yield pypdfium2.PdfAttachment(file, document).get_name() if file else ""
        raw.FPDFPage_CloseAnnot(annotation)


def _font_name(item: Any) -> str:
    if item.type != raw.FPDF_PAGEOBJ_TEXT:
        return ""
    return str(item.get_font().get_base_name())
