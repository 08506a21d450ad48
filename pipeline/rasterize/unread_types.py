"""Names of the kinds of files that are not read, told from their bytes: so that a person knows what was in the bucket.

Knows what the bytes begin with, and the names inside a ZIP archive. Opens and unpacks nothing, and is sure of nothing.
"""

from __future__ import annotations

import codecs
import os
import re
from typing import BinaryIO

_HEAD_BYTES = 1024
_TAIL_BYTES = 1 << 16  # of an archive: the list of its files stands at its end

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document as before 2007 (doc, xls, ppt or msg)"),
    (rb"{\rtf", "an RTF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"AT&TFORM", "a DjVu document"),
    (b"ITSF", "a CHM help file"),
    (b"\x1b%-12345X", "a print job"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a film or a layered document of JPEG 2000"),
    (b"\x97JB2\r\n\x1a\n", "a JBIG2 image"),
    (b"II\xbc", "a JPEG XR image"),
    (b"8BPS", "a Photoshop image"),
    (b"\0\0\1\0", "an icon"),
    (b"\xb1\x68\xde\x3a", "a DCX image"),
    (b"P7\n", "a PAM image"),
    (b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"PAR1", "a Parquet table"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"OggS", "sound or a film"),
    (b"ID3", "sound"),
    (b"\x1aE\xdf\xa3", "a film"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_LATER: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "a film"),
    (8, b"AVI ", "a film"),
    (8, b"WAVE", "sound"),
    (40, b" EMF", "an EMF drawing"),
    (60, b"BOOKMOBI", "a Mobipocket book"),
    (257, b"ustar", "a tar archive"),
)
_IN_ZIP: tuple[tuple[bytes, str], ...] = (
    (b"mimetypeapplication/epub+zip", "an EPUB book"),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", "an OpenDocument text"),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "an OpenDocument spreadsheet"),
    (b"mimetypeapplication/vnd.oasis.opendocument.presentation", "an OpenDocument presentation"),
    (b"word/document", "a Word document (docx)"),
    (b"xl/workbook", "an Excel workbook (xlsx)"),
    (b"ppt/presentation", "a PowerPoint presentation (pptx)"),
    (b"FixedDocSeq.fdseq", "an XPS document"),
)
_PCX = re.compile(rb"\n[\0\2-\5][\0\1][\1\2\4\x08]", re.DOTALL)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(\?xml|!doctype\s+html|html|svg)\b", re.IGNORECASE)
_EMAIL = re.compile(rb"(?:Return-Path|Delivered-To|Received|Message-ID|MIME-Version|From): ?\S", re.IGNORECASE)


def name_of(file: BinaryIO) -> str:
    """What the file seems to be, like "a Word document (docx)"; "" where nothing tells."""
    head = os.pread(file.fileno(), _HEAD_BYTES, 0)
    if head.startswith(b"PK\3\4"):
        return _name_of_zip(file, head)
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    for start, word, name in _LATER:
        if head.startswith(word, start):
            return name
    return "a PCX image" if _PCX.match(head) else _name_of_text(head)


def _name_of_zip(file: BinaryIO, head: bytes) -> str:
    size = os.fstat(file.fileno()).st_size
    names = head + os.pread(file.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    return next((name for word, name in _IN_ZIP if word in names), "a ZIP archive")


def _name_of_text(head: bytes) -> str:
    if markup := _MARKUP.match(head):
        return {b"?xml": "an XML file", b"svg": "an SVG drawing"}.get(markup[1].lower(), "an HTML page")
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return ""
    if not all(char.isprintable() or char.isspace() for char in text):
        return ""
    return "an e-mail" if _EMAIL.match(head) else "plain text"
