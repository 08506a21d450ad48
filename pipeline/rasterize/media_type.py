"""What a file is, told from its first bytes, and whether its end is there. File names are never used.

This module only compares bytes, so it is safe to run on hostile files in any process. It does not decode.
"""

from __future__ import annotations

import mmap
import os
import re
from typing import BinaryIO, Literal

from quire.rasterize.source_bytes import map_bytes

PDF = "application/pdf"
HEIC = "image/heic"
AVIF = "image/avif"
JPEG_2000 = "image/jp2"
ANYMAP = "image/x-portable-anymap"
"""PBM, PGM and PPM."""
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
    (b"\xff\x4f\xff\x51", JPEG_2000),  # a codestream without boxes around it
)
_JPEG_2000_BOX = b"\0\0\0\x0cjP  \r\n\x87\n"
_NO_JPEG_2000_IMAGE = (b"jpm ", b"mjp2")  # pages in layers, and films, in the same boxes
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_AVIF_BRANDS = (b"avif", b"avis")
_ANY_CODEC = (b"mif1", b"msf1")  # the brands after it say which
_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})"
_BITMAP_HEADER = re.compile(rb"P[14]" + _NUMBER * 2 + rb"\s")
_ANYMAP_HEADER = re.compile(rb"P[2356]" + _NUMBER * 3 + rb"\s")
_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


def sniff(head: bytes) -> str:
    """The media type of a file that starts with `head` (`HEAD_BYTES` of it), "" where it is none of ours."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp" and (kind := _sniff_brands(head)):
        return kind
    if head.startswith(_JPEG_2000_BOX) and head[20:24] not in _NO_JPEG_2000_IMAGE:
        return JPEG_2000
    # Plain words may start with "BM", too; a header's size does not follow there.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    # Plain words may start with "P5", too; the two or three numbers of its header do not follow there.
    if _anymap_header(head):
        return ANYMAP
    return PDF if b"%PDF-" in head[:HEAD_BYTES] else ""


def _sniff_brands(head: bytes) -> str:
    """By the first brand that names a codec: the major one, or one of the compatible ones (ISO 14496-12, 4.3)."""
    end = max(12, min(int.from_bytes(head[:4], "big"), len(head)))
    brands = [head[start : start + 4] for start in range(8, end, 4)]
    if brands[0] in _ANY_CODEC:
        brands = [brand for brand in brands if brand in _AVIF_BRANDS + _HEIF_BRANDS] or list(_HEIF_BRANDS)
    return AVIF if brands[0] in _AVIF_BRANDS else HEIC if brands[0] in _HEIF_BRANDS else ""


def _anymap_header(data: bytes | mmap.mmap) -> re.Match[bytes] | None:
    return _BITMAP_HEADER.match(data) or _ANYMAP_HEADER.match(data)


def sniff_file(file: BinaryIO) -> str:
    return sniff(os.pread(file.fileno(), HEAD_BYTES, 0))


def is_cut_short(file: BinaryIO, media_type: str) -> bool:
    """Whether the mark that ends a file of this type is missing. Types without such a mark count as whole. The file's
    position is kept."""
    with map_bytes(file) as data:
        return _is_cut_short(data, media_type)


def _is_cut_short(data: mmap.mmap, media_type: str) -> bool:
    if media_type == PDF:
        # Whatever follows the end does no harm: copiers and web servers append kilobytes. A missing last line
        # does no harm either.
        last_object = max(data.rfind(b"endobj"), data.rfind(b"endstream"))
        return max(data.rfind(b"%%EOF"), data.rfind(b"startxref")) <= last_object
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
    if media_type == JPEG_2000:
        return _is_jpeg_2000_cut_short(data)
    if media_type == ANYMAP:
        return len(data) < _anymap_end(data)
    return media_type in (HEIC, AVIF) and _is_box_cut_short(data)


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


def _is_jpeg_2000_cut_short(data: mmap.mmap) -> bool:
    """Whether no end of codestream follows the last start of data. Packets hold neither (ISO 15444-1, A.1)."""
    return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\x93") or data.find(b"\xff\x93") < 0


def _anymap_end(data: mmap.mmap) -> int:
    """Where the pixels of the first image end; 0 where they are plain numbers, which have no end mark."""
    header = _anymap_header(data)
    if header is None or data[1:2] in b"123":
        return 0
    width, height, *largest = (int(number) for number in header.groups())
    if data[1:2] == b"4":
        return header.end() + height * ((width + 7) // 8)
    return header.end() + height * width * (3 if data[1:2] == b"6" else 1) * (1 if largest[0] < 256 else 2)


def has_more_images(file: BinaryIO, media_type: str) -> bool:
    """Whether another image follows the first one in the same file, of which no header tells."""
    if media_type != ANYMAP:
        return False
    with map_bytes(file) as data:
        end = _anymap_end(data)
        return end > 0 and _anymap_header(data[end : end + HEAD_BYTES].lstrip()) is not None


def is_jpeg_cut_short(data: bytes | mmap.mmap) -> bool:
    """Entropy-coded data holds neither marker, and a thumbnail in the header has both: what counts is whether an end
    follows the last start of scan."""
    return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda") or data.find(b"\xff\xda") < 0
