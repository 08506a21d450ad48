"""What a file is, told from its first bytes, and whether its end is there. Names are never asked.

This module only compares bytes, so it is safe to run on hostile files in any process. It does not decode.
"""

from __future__ import annotations

import mmap
import os
from typing import BinaryIO, Literal

from pipeline.rasterize.source_bytes import map_bytes

PDF = "application/pdf"
HEIC = "image/heic"
HEAD_BYTES = 1024
"""How far into a file a PDF header may start, as readers have always allowed."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


def sniff(head: bytes) -> str:
    """The media type of a file that starts with `head` (`HEAD_BYTES` of it), "" where it is none of ours."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return HEIC
    # "BM" also starts plain words; the size of the header that follows does not.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    return PDF if b"%PDF-" in head[:HEAD_BYTES] else ""


def sniff_file(file: BinaryIO) -> str:
    return sniff(os.pread(file.fileno(), HEAD_BYTES, 0))


def is_cut_short(file: BinaryIO, media_type: str) -> bool:
    """Whether the mark that ends a file of this type is missing. Types without such a mark count as whole. The file
    stays where it stands."""
    with map_bytes(file) as data:
        return _is_cut_short(data, media_type)


def _is_cut_short(data: mmap.mmap, media_type: str) -> bool:
    if media_type == PDF:
        # Whatever follows the end does no harm: copiers and web servers append kilobytes.
        last_object = max(data.rfind(b"endobj"), data.rfind(b"endstream"))
        return data.rfind(b"%%EOF") <= last_object
    if media_type == "image/jpeg":
        return is_jpeg_cut_short(data)
    if media_type == "image/png":
        return data.rfind(b"IEND") < 0
    if media_type == "image/gif":
        return data.rfind(b"\x00;") < 0
    if media_type == "image/webp":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if media_type == "image/bmp":
        return len(data) < int.from_bytes(data[2:6], "little")
    if media_type == "image/tiff":
        return _is_tiff_cut_short(data)
    return media_type == HEIC and _is_box_cut_short(data)


def _is_tiff_cut_short(data: mmap.mmap) -> bool:
    """Whether the first directory lies beyond the end: writers put it behind the pixels."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    is_big = data[2:4] in (b"+\0", b"\0+")
    return int.from_bytes(data[8:16] if is_big else data[4:8], order) >= len(data)


def _is_box_cut_short(data: mmap.mmap) -> bool:
    """Whether the last of the boxes that the file is made of ends beyond its end (ISO 14496-12, 4.2)."""
    start = 0
    while start + 8 <= len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
        if size < 8:  # to the end of the file, or no box
            return False
        start += size
    return start > len(data)


def is_jpeg_cut_short(data: bytes | mmap.mmap) -> bool:
    """Entropy-coded data holds neither marker, and a thumbnail in the header has both: what counts is whether an end
    follows the last start of scan."""
    return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda") or data.find(b"\xff\xda") < 0
