"""A document's bytes as memory, read from disk where they are looked at.

A rendering process is given documents as open files and may open none itself; libraries that want a path get this.
Costs no private memory, whatever the document's size. A file that is cut off meanwhile ends the process (SIGBUS).
"""

from __future__ import annotations

import mmap
from typing import BinaryIO


def map_bytes(file: BinaryIO) -> mmap.mmap:
    """All bytes of the file, wherever it stands. Raises ValueError for a file without any."""
    # Private, since the cage forbids new shared memory, which the memory limit would not count.
    return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
