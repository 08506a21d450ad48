"""Where the cache of fetched documents lies on this machine. Does not know what is kept in it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from quire.config.sections import FlowSettings, StorageSettings
from quire.errors import ConfigError
from quire.storage.source_cache import SourceCache


def open_cache(flow: FlowSettings, storage: StorageSettings) -> SourceCache:
    """This machine's cache of fetched documents, shared by all processes of this user. Raises `ConfigError`."""
    directory = Path(flow.cache_dir or Path(tempfile.gettempdir()) / f"quire-cache-{os.getuid()}")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Every user may write to the system's folder for temporary files: another one may have put a link there.
        status = directory.lstat()
    except OSError as exc:
        raise ConfigError(f"no documents can be kept in {directory} ({exc.strerror}): set flow.cache_dir") from exc
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigError(
            f"{directory} is a link, or belongs to another user: set flow.cache_dir to a folder of your own"
        )
    return SourceCache(directory, flow.cache_mb << 20, storage)
