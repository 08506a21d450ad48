"""A PDF's objects as text to search in, without a library that parses them.

Finds what is stored as plain text, or in a compressed object stream. A name that is written with escapes (`/#41nnot`),
or in an object of its own that is encrypted, is not found.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator

_OBJECT_STREAM = re.compile(rb"/ObjStm.*?stream\r?\n", re.DOTALL)
_MAX_STREAM_BYTES = 64 << 20
_MAX_UNPACKED_BYTES = 256 << 20  # of all streams: half a second of CPU


def object_texts(data: mmap.mmap) -> Iterator[bytes | mmap.mmap | None]:
    """The file as it is, then each of its object streams, unpacked; None for one that is encrypted, or packed in
    another way, and for all that are left after 256 MB."""
    yield data
    left = _MAX_UNPACKED_BYTES
    for found in _OBJECT_STREAM.finditer(data):
        if left <= 0:
            yield None
            return
        try:
            packed = data[found.end() : data.find(b"endstream", found.end())]
            text = zlib.decompressobj().decompress(packed, min(left, _MAX_STREAM_BYTES))
        except zlib.error:
            yield None
        else:
            left -= len(text)
            yield text
