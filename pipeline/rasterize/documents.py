"""Which renderer opens what, and how a library's error is put into words.

The one place that knows all renderers. A renderer's library is imported only where it is used, since MuPDF may
be missing, and never in the process that drives the rendering.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import BinaryIO

from quire.rasterize.views import OpenDocument, RenderFailure

_MESSAGE_MAX_CHARS = 300
_FILE_OBJECT = re.compile(r" ?<_io\.[^>]*>")  # as Pillow names what it was given to read
# "malloc (8 bytes) failed" is MuPDF's; "malloc(): …" is the C library's, of a damaged heap.
_MEMORY_WORDS = ("alloc (", "cannot allocate", "out of memory", "bad_alloc", "memoryerror")


def open_document(
    renderer: str, file: BinaryIO, media_type: str, passwords: tuple[str, ...], max_pixels: int
) -> OpenDocument:
    """Open a document with "mupdf", "pdfium" or "pillow"; the file must stay open as long as the document. Raises
    `WrongPassword`, `RenderFailure`, or whatever the library raises."""
    if renderer == "mupdf":
        from quire.rasterize.mupdf import MupdfDocument

        return MupdfDocument(file, passwords)
    if renderer == "pdfium":
        from quire.rasterize.pdfium import PdfiumDocument

        return PdfiumDocument(file, passwords)
    from quire.rasterize.images import ImageDocument

    return ImageDocument(file, media_type, max_pixels)


def load_libraries(renderers: Sequence[str]) -> None:
    """Import what these renderers need, Pillow included, before the first document asks for it."""
    for module in ("images", *renderers):
        importlib.import_module(f"quire.rasterize.{module}")


def failure_of(exc: Exception) -> tuple[str, str]:
    """(kind, message) of whatever rendering a page raised."""
    if isinstance(exc, RenderFailure):
        return exc.kind, single_line(exc.message)
    message = one_line(exc)
    if isinstance(exc, MemoryError) or is_about_memory(message):
        return "render_memory", message
    return "render_error", message


def is_about_memory(message: str) -> bool:
    return any(word in message.lower() for word in _MEMORY_WORDS)


def one_line(exc: Exception) -> str:
    """The library's words, without an open file's number, which differs each time."""
    return single_line(_FILE_OBJECT.sub("", str(exc))) or type(exc).__name__


def single_line(message: str) -> str:
    """Words for a table: one line, cut."""
    return " ".join(storable(message).split())[:_MESSAGE_MAX_CHARS]


def storable(text: str) -> str:
    """Without what UTF-8 cannot hold: a document's own bytes end up in messages and metadata."""
    return text.encode("utf-8", "replace").decode()
