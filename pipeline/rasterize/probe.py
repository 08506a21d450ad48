"""What a document is before any page of it is rendered: type, pages, state, metadata.

This module decides; the renderers open. It runs in the child process (`worker.py`), like all that parses.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from quire.rasterize import embedded_files, media_type
from quire.rasterize.documents import one_line, open_document
from quire.rasterize.unread_types import name_of
from quire.rasterize.views import OpenDocument, RenderFailure, WrongPassword
from quire.records import NUM_EMBEDDED_FILES, DocumentStatus

_METADATA_NAMES = {
    "title": "title",
    "author": "author",
    "subject": "subject",
    "keywords": "keywords",
    "creator": "creator",
    "producer": "producer",
    "creationDate": "creation_date",
    "modDate": "modification_date",
}
_METADATA_MAX_CHARS = 500


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of a document. `detail` is in words for a person, "" where all is well."""

    media_type: str
    num_pages: int
    status: DocumentStatus
    detail: str
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Look:
    """One renderer's answer: pages found, or why it could not say (`error`)."""

    num_pages: int = 0
    is_repaired: bool = False
    error: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    unread: str = ""


def probe(file: BinaryIO, passwords: tuple[str, ...], renderers: Sequence[str], max_pixels: int) -> Probe:
    """Find out about a document. PDFs are shown to the renderers in turn until one finds pages."""
    if os.fstat(file.fileno()).st_size == 0:
        return Probe("", 0, DocumentStatus.EMPTY, "the file has no bytes")
    kind = media_type.sniff_file(file)
    if not kind:
        name = name_of(file)
        detail = (
            f"seems to be {name}, which is not read"
            if name
            else "neither a PDF nor an image of a type that is read"
        )
        return Probe("", 0, DocumentStatus.UNSUPPORTED, detail)
    if kind != media_type.PDF:
        return _probe_image(file, kind, max_pixels)
    return _probe_pdf(file, passwords, renderers)


def _probe_pdf(file: BinaryIO, passwords: tuple[str, ...], renderers: Sequence[str]) -> Probe:
    is_cut_short = media_type.is_cut_short(file, media_type.PDF)
    looks = []
    for renderer in renderers:
        try:
            look = _look(file, renderer, passwords)
        except WrongPassword:
            return Probe(media_type.PDF, 0, DocumentStatus.ENCRYPTED, _encrypted_detail(passwords))
        if look.num_pages > 0:
            return _found(look, is_cut_short)
        looks.append(look)
    return _nothing_found(looks, is_cut_short)


def _look(file: BinaryIO, renderer: str, passwords: tuple[str, ...]) -> _Look:
    try:
        document = open_document(renderer, file, media_type.PDF, passwords, max_pixels=0)
    except WrongPassword:
        raise
    except Exception as exc:  # whatever a library raises, the other one is asked next
        return _Look(error=f"{renderer}: {one_line(exc)}")
    try:
        is_repaired = bool(getattr(document, "is_repaired", False))
        metadata = _clean_metadata(document.metadata)
        unread, num_files = _embedded_files(document, file)
        if num_files:
            metadata += ((NUM_EMBEDDED_FILES, str(num_files)),)
        return _Look(document.num_pages, is_repaired, metadata=metadata, unread=unread)
    except Exception as exc:
        return _Look(error=f"{renderer}: {one_line(exc)}")
    finally:
        document.close()


def _found(look: _Look, is_cut_short: bool) -> Probe:
    if is_cut_short:
        status, detail = DocumentStatus.TRUNCATED, f"the end of the file is missing; pages found: {look.num_pages}"
    else:
        status = DocumentStatus.OK
        detail = "the file was damaged and has been repaired" if look.is_repaired else ""
    detail = "; ".join(filter(None, (detail, look.unread)))
    return Probe(media_type.PDF, look.num_pages, status, detail, look.metadata)


def _embedded_files(document: OpenDocument, file: BinaryIO) -> tuple[str, int]:
    """What to say of the files inside it, and how many there are."""
    try:
        num_pages = embedded_files.MOST_PAGES if embedded_files.may_be_annotated(file) else 0
        return embedded_files.told(document.embedded_files(num_pages), file)
    except Exception as exc:  # its pages can be read all the same
        return f"whether files are embedded cannot be told: {one_line(exc)}", 0


def _nothing_found(looks: list[_Look], is_cut_short: bool) -> Probe:
    errors = "; ".join(look.error for look in looks if look.error)
    if "encryption handler" in errors or "security" in errors.lower():
        detail = "encrypted in a way that no password opens"
        return Probe(media_type.PDF, 0, DocumentStatus.ENCRYPTED, f"{detail}: {errors}")
    if is_cut_short:
        detail = "the end of the file is missing and no page could be found"
        return Probe(media_type.PDF, 0, DocumentStatus.TRUNCATED, detail)
    if any(not look.error and not look.is_repaired for look in looks):
        return Probe(media_type.PDF, 0, DocumentStatus.EMPTY, "a PDF of zero pages")
    detail = f"no page can be found: {errors or 'the file was damaged'}"
    return Probe(media_type.PDF, 0, DocumentStatus.CORRUPT, detail)


def _encrypted_detail(passwords: tuple[str, ...]) -> str:
    if not passwords:
        return "needs a password to open"
    return f"needs a password to open; none of the {len(passwords)} given opens it"


def _probe_image(file: BinaryIO, kind: str, max_pixels: int) -> Probe:
    is_cut_short = media_type.is_cut_short(file, kind)
    try:
        document = open_document("pillow", file, kind, (), max_pixels)
    except RenderFailure as exc:
        is_bomb = exc.kind == "too_many_pixels"
        status = DocumentStatus.TOO_LARGE if is_bomb else DocumentStatus.UNSUPPORTED
        return Probe(kind, 0, status, exc.message)
    except Exception as exc:
        if is_cut_short:
            detail = "the end of the file is missing and nothing can be read"
            return Probe(kind, 0, DocumentStatus.TRUNCATED, detail)
        return Probe(kind, 0, DocumentStatus.CORRUPT, f"the image cannot be opened: {one_line(exc)}")
    num_pages, detail = document.num_pages, _unread_of_image(document, file, kind)
    document.close()
    if is_cut_short:
        return Probe(kind, num_pages, DocumentStatus.TRUNCATED, "the end of the file is missing")
    return Probe(kind, num_pages, DocumentStatus.OK, detail)


def _unread_of_image(document: OpenDocument, file: BinaryIO, kind: str) -> str:
    num_frames = 1
    with contextlib.suppress(Exception):  # a later frame is broken, which is not read anyway
        num_frames = getattr(document, "num_frames", 1)
    if num_frames > 1:
        return f"{num_frames} frames, of which the first is read"
    return "several images, of which the first is read" if media_type.has_more_images(file, kind) else ""


def _clean_metadata(metadata: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    cleaned = ((_METADATA_NAMES.get(name), _clean(value)) for name, value in metadata)
    return tuple((name, value) for name, value in cleaned if name and value)


def _clean(value: str) -> str:
    """Without control characters and lone surrogates, which no table or UTF-8 file can hold."""
    kept = (char for char in value if unicodedata.category(char) not in ("Cc", "Cs"))
    return "".join(kept).strip()[:_METADATA_MAX_CHARS]
