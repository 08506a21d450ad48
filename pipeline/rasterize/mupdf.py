"""PDF pages through MuPDF. The only module that imports PyMuPDF.

A page is parsed once, into a display list, and drawn from it once per view at the view's own pixel size,
straight into the array that is handed on. It does not know processes or limits: `worker.py` runs it where it
can be killed. `get_links` is never called: it does not return on some documents.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from quire.rasterize import facts
from quire.rasterize.modes import layout
from quire.rasterize.source_bytes import map_bytes
from quire.rasterize.views import RenderFailure, Rendering, WrongPassword, empty_pixels
from quire.records import PageFacts, Pixels

# PyMuPDF 2 loads a neural network for layout and a writer of Markdown when it is imported: more than a second of CPU
# and 55 MB in every rendering process, for functions that are not used here. It works without modules that are marked
# as missing.
sys.modules.setdefault("pymupdf.layout", None)  # pyrefly: ignore[no-matching-overload]
sys.modules.setdefault("pymupdf4llm", None)  # pyrefly: ignore[no-matching-overload]
import pymupdf  # noqa: E402

_NEEDS_UNICODE_MAP = ("Identity-H", "Identity-V", "")
_OTHER_STREAMS = ("Thumb", "Metadata")  # that a page may have beside its contents: ISO 32000-2, table 31
_DEFAULT_MEDIA_BOX = (0, 0, 612, 792)  # as MuPDF and pdfium take a page without one
_SAYS_DAMAGE = re.compile(
    r"error|truncated|premature|cannot|corrupt|damaged|unknown filter|may not be correct|unknown subtype"
)
_HARMLESS = re.compile(r"ICC profile|link destination|non-page object")  # the last is about a page's neighbours
_library: Any = pymupdf  # typed in parts only
_mupdf: Any = pymupdf.mupdf


class MupdfDocument:
    """A PDF held open. Raises `WrongPassword`, and MuPDF's errors, which derive from Exception."""

    def __init__(self, file: BinaryIO, passwords: tuple[str, ...] = ()) -> None:
        _library.TOOLS.mupdf_display_errors(False)  # they go to standard output otherwise
        _library.TOOLS.mupdf_display_warnings(False)
        self._document: Any = _library.open(stream=memoryview(map_bytes(file)), filetype="pdf")
        if self._document.needs_pass and not any(self._document.authenticate(word) for word in passwords):
            self.close()
            raise WrongPassword
        self._font_is_unreadable: dict[int, bool] = {}

    @property
    def num_pages(self) -> int:
        return int(self._document.page_count)

    @property
    def is_repaired(self) -> bool:
        return bool(self._document.is_repaired)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        named = self._document.metadata or {}
        return tuple((str(key), str(value)) for key, value in named.items() if value)

    def embedded_files(self, num_pages: int) -> Iterator[str]:
        pdf = _mupdf.pdf_document_from_fz_document(self._document.this)
        attached = _mupdf.pdf_load_name_tree(pdf, _mupdf.PDF_ENUM_NAME_EmbeddedFiles)
        names = set()
        for index in range(attached.pdf_dict_len()):
            names.add(name := _file_name(attached.pdf_dict_get_val(index)))
            yield name
        for page_index in range(min(num_pages, self.num_pages)):
            page = pdf.pdf_lookup_page_obj(page_index)
            yield from (name for name in _annotated_files(page) if name not in names)

    def render(self, page_index: int, mode: str, max_pixels: int) -> Rendering:
        """One page at one mode, annotations and form fields drawn, rotation applied."""
        if not 0 <= page_index < self.num_pages:
            raise RenderFailure("page_missing", f"page {page_index + 1} of {self.num_pages}")
        _library.TOOLS.reset_mupdf_warnings()
        page = self._load(page_index)
        bounds, display_list = page.rect, page.get_displaylist(annots=True)
        chosen = layout(mode, bounds.width, bounds.height, max_pixels=max_pixels)
        tiled = _draw(display_list, bounds, chosen.tiled_px) if chosen.num_tiles else None
        pixels = _draw(display_list, bounds, chosen.content_px)
        # Read the warnings before the text: a font that cannot be mapped has still been drawn.
        damage = "; ".join(filter(None, (_damage(), _lost_contents(page))))
        ink_share, ink_map = facts.ink(pixels)
        page_facts = self._facts(page, display_list, ink_share)
        if (
            damage
        ):  # warnings about what pages share (a font) come when it is loaded: the next page is to load it again
            _library.TOOLS.store_shrink(100)
        return Rendering(chosen, pixels, tiled, page_facts, ink_map, damage)

    def close(self) -> None:
        self._document.close()
        _library.TOOLS.store_shrink(100)  # decoded images and fonts of this document; the store outlives it

    def _load(self, page_index: int) -> Any:
        try:
            page = self._document[page_index]
            return self._document[page_index] if _mend(page) else page
        except IndexError as exc:  # the file states more pages than it has
            raise RenderFailure("page_missing", str(exc)) from exc

    def _facts(self, page: Any, display_list: Any, ink_share: float) -> PageFacts:
        spans = _spans(display_list)
        num_chars, private_use_share = facts.count_characters("".join(text for _, text in spans))
        images = _library.TextPage(display_list.get_textpage(_library.TEXT_PRESERVE_IMAGES)).extractIMGINFO()
        fonts = {font[0]: font for font in page.get_fonts()}
        return PageFacts(
            width_pt=page.rect.width,
            height_pt=page.rect.height,
            ink_share=ink_share,
            num_chars=num_chars,
            num_fonts=len(fonts),
            num_fonts_without_unicode=sum(self._is_font_unreadable(font) for font in fonts.values()),
            private_use_share=private_use_share,
            image_cover=facts.cover_share([image["bbox"] for image in images], tuple(page.rect)),
            min_glyph_height_pt=facts.smallest_common_height((size, len(text)) for size, text in spans),
        )

    def _is_font_unreadable(self, font: tuple[Any, ...]) -> bool:
        """Whether nothing says which characters the font's codes are: no ToUnicode where one is needed.

        Simple fonts with a standard encoding need none.
        """
        xref, _, kind, _, _, encoding = font[:6]
        if xref not in self._font_is_unreadable:
            needs_map = kind == "Type3" or (kind in ("Type0", "TrueType") and encoding in _NEEDS_UNICODE_MAP)
            has_map = xref > 0 and self._document.xref_get_key(xref, "ToUnicode")[0] != "null"
            self._font_is_unreadable[xref] = needs_map and not has_map
        return self._font_is_unreadable[xref]


def _annotated_files(page: Any) -> Iterator[str]:
    annotations = page.pdf_dict_get(_mupdf.PDF_ENUM_NAME_Annots)
    for index in range(annotations.pdf_array_len()):
        annotation = annotations.pdf_array_get(index)
        if annotation.pdf_dict_get(_mupdf.PDF_ENUM_NAME_Subtype).pdf_to_name() == "FileAttachment":
            yield _file_name(annotation.pdf_dict_get(_mupdf.PDF_ENUM_NAME_FS))


def _file_name(specification: Any) -> str:
    """The file's name, the Unicode one where there are two."""
    for key in (_mupdf.PDF_ENUM_NAME_UF, _mupdf.PDF_ENUM_NAME_F):
        if name := specification.pdf_dict_get(key).pdf_to_text_string():
            return str(name)
    return ""


def _mend(page: Any) -> bool:
    """Ignore a crop box that leaves nothing of the page, a rotation that is no quarter turn, and a unit of 0 or less,
    as browsers do. MuPDF would draw nothing for the first and the last, and turn by the nearest quarter. Returns
    whether there was something to mend."""
    entries = _mupdf.pdf_page_from_fz_page(page.this).obj()
    crop = _mupdf.pdf_dict_get_inheritable(entries, _mupdf.PDF_ENUM_NAME_CropBox)
    media = _rectangle(_mupdf.pdf_dict_get_inheritable(entries, _mupdf.PDF_ENUM_NAME_MediaBox))
    media = _library.Rect(_DEFAULT_MEDIA_BOX) if media.is_empty else media
    is_cropped_away = bool(crop.pdf_is_array()) and (_rectangle(crop) & media).is_empty
    if is_cropped_away:
        page.parent.xref_set_key(page.xref, "CropBox", f"[{' '.join(f'{side:g}' for side in media)}]")
    rotate = _mupdf.pdf_dict_get_inheritable(entries, _mupdf.PDF_ENUM_NAME_Rotate)
    is_askew = rotate.pdf_to_real() % 90 != 0
    if is_askew:
        page.parent.xref_set_key(page.xref, "Rotate", "0")
    unit = _mupdf.pdf_dict_get(entries, _mupdf.PDF_ENUM_NAME_UserUnit)
    is_without_size = bool(unit.pdf_is_number()) and unit.pdf_to_real() <= 0
    if is_without_size:
        page.parent.xref_set_key(page.xref, "UserUnit", "1")
    return is_cropped_away or is_askew or is_without_size


def _rectangle(array: Any) -> Any:
    return _library.Rect(_mupdf.pdf_to_rect(array)).normalize()


def _draw(display_list: Any, bounds: Any, size_px: tuple[int, int]) -> Pixels:
    """The whole page at exactly this size, each side scaled on its own, on white."""
    width, height = size_px
    pixels = empty_pixels(size_px)
    pixels.fill(255)
    scale_x, scale_y = width / bounds.width, height / bounds.height
    matrix = _mupdf.FzMatrix(scale_x, 0, 0, scale_y, -bounds.x0 * scale_x, -bounds.y0 * scale_y)
    memory = _mupdf.python_mutable_buffer_data(pixels)
    rgb = _mupdf.FzColorspace(_mupdf.FzColorspace.Fixed_RGB)
    pixmap = _mupdf.fz_new_pixmap_with_data(rgb, width, height, _mupdf.FzSeparations(), 0, width * 3, memory)
    device = _mupdf.fz_new_draw_device(matrix, pixmap)
    everything = _mupdf.FzRect(_mupdf.FzRect.Fixed_INFINITE)
    _mupdf.fz_run_display_list(display_list.this, device, _mupdf.FzMatrix(), everything, _mupdf.FzCookie())
    _mupdf.fz_close_device(device)
    return pixels


def _damage() -> str:
    """What MuPDF could not draw, in its words. It leaves out what it cannot decode and goes on, even where memory was
    short. Much else that it complains of does not show on the page."""
    warnings = str(_library.TOOLS.mupdf_warnings())
    if "alloc (" in warnings:  # malloc, calloc, realloc
        raise RenderFailure("render_memory", " ".join(warnings.split()))
    lines = dict.fromkeys(warnings.splitlines())
    return "; ".join(line for line in lines if _SAYS_DAMAGE.search(line) and not _HARMLESS.search(line))


def _lost_contents(page: Any) -> str:
    """What the page's entries promise and cannot be drawn; MuPDF skips it silently. A page without contents has no such
    entry; MuPDF turns references that lead nowhere into nulls."""
    entries = _mupdf.pdf_page_from_fz_page(page.this).obj()
    if not entries.pdf_is_dict():
        return "the page is no dictionary"
    entry = {
        entries.pdf_dict_get_key(index).pdf_to_name(): entries.pdf_dict_get_val(index)
        for index in range(entries.pdf_dict_len())
    }
    kind = entry["Type"].pdf_to_name() if "Type" in entry else ""
    if kind != "Page" and (kind or "Contents" not in entry):
        return "what should be the page is none"
    if "Contents" not in entry:
        strange = [name for name, value in entry.items() if name not in _OTHER_STREAMS and value.pdf_is_stream()]
        return f"the page has no contents, but a stream by the name of {strange[0]!a}" if strange else ""
    contents = entry["Contents"]
    parts = [contents]
    if contents.pdf_is_array():
        parts = [contents.pdf_array_get(index) for index in range(contents.pdf_array_len())]
    if not all(part.pdf_is_stream() for part in parts):
        return "the page's contents, or a part of them, are no stream"
    files = [part.pdf_dict_gets("F") for part in parts]
    if any(file.pdf_is_string() or file.pdf_is_dict() for file in files):
        return "the page's contents are in another file"
    return ""


def _spans(display_list: Any) -> list[tuple[float, str]]:
    """(type size in pt, text) of every run of text, hidden text of OCR layers included."""
    blocks = _library.TextPage(display_list.get_textpage(_library.TEXT_MEDIABOX_CLIP)).extractDICT()["blocks"]
    lines = [line for block in blocks for line in block.get("lines", ())]
    return [(span["size"], span["text"]) for line in lines for span in line["spans"]]


def render_png(document: MupdfDocument, page_index: int, dpi: int) -> bytes:
    """A page the common way, as PNG. For benchmarks to compare with; nothing in the pipeline uses it."""
    return bytes(document._document[page_index].get_pixmap(dpi=dpi).tobytes("png"))
