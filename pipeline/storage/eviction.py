"""Keeps the cache's directory within its size. Knows the names of its files, and nothing of what they hold."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from quire.storage.local import TEMPORARY_PREFIX

_CACHED_NAME = re.compile(r"[0-9a-f]{64}")
_ABANDONED_AFTER_S = 24 * 3600.0


def evict(directory: Path, max_bytes: int) -> None:
    """Delete the least recently used files until the rest fits `max_bytes`; and downloads that a kill cut short."""
    files = []
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process evicted it
                status = entry.stat()
                if not entry.is_file():
                    continue
                if _CACHED_NAME.fullmatch(entry.name):
                    files.append((status.st_mtime_ns, status.st_size, entry.path))
                elif not entry.name.startswith(TEMPORARY_PREFIX):
                    continue  # not ours: somebody chose a folder of their own for the cache
                elif time.time() - status.st_mtime > _ABANDONED_AFTER_S and _is_unlocked(entry.path):
                    os.unlink(entry.path)
    total_bytes = sum(size_bytes for _, size_bytes, _ in files)
    for _, size_bytes, path in sorted(files):
        if total_bytes <= max_bytes:
            return
        with suppress(FileNotFoundError):
            os.unlink(path)
        total_bytes -= size_bytes


def _is_unlocked(path: str) -> bool:
    """Whether no process is writing the file. Its time alone is not enough: clocks may be changed."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
