"""Folders on a local or mounted file system. Knows nothing of S3.

Writes go to a hidden temporary file beside the target, are flushed to the disk (a power cut must not leave an
empty file under a result's name), then renamed or linked into place. What a kill leaves behind begins with
`.quire-tmp-`; listings skip it, `sweep` removes it, and anyone may delete it.

Listings follow links, to files and to directories, but not back into a directory that they are inside of.
Hidden files are files. Pipes, sockets and devices are not.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quire.errors import NotFound, SourceChanged
from quire.storage.base import Downloaded, ObjectInfo, too_large
from quire.storage.system_errors import raise_if_of_the_machine, read_errors, write_errors
from quire.storage.uris import local_uri

TEMPORARY_PREFIX = ".quire-tmp-"
_CHUNK_BYTES = 1 << 20
_ABANDONED_AFTER_S = 24 * 3600.0
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """`root` is an absolute path. See `base.Folder` for what the operations promise."""

    root: str

    @property
    def uri(self) -> str:
        return local_uri(self.root)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        start = prefix[: prefix.rfind("/") + 1]
        wanted = os.fsencode(prefix)
        with read_errors("list", self.uri):
            for key in walk(os.fsencode(self.root), os.fsencode(start)):
                if key.startswith(wanted):
                    info = self._listed(os.fsdecode(key))
                    if info is not None:
                        yield info

    def _listed(self, key: str) -> ObjectInfo | None:
        """None for what is neither a file nor a directory."""
        path = os.path.join(self.root, key)
        try:
            status = os.stat(path)
        except OSError as exc:
            raise_if_of_the_machine(exc)
            return ObjectInfo(key, local_uri(path), "", -1)
        if stat.S_ISREG(status.st_mode):
            return ObjectInfo(key, local_uri(path), etag_of(status), status.st_size)
        return ObjectInfo(key, local_uri(path), "", -1) if stat.S_ISDIR(status.st_mode) else None

    def info(self, key: str) -> ObjectInfo:
        path = self._path(key)
        with read_errors("look up", local_uri(path)):
            status = regular_file(path)
        return ObjectInfo(key, local_uri(path), etag_of(status), status.st_size)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with read_errors("read", local_uri(path)):
            regular_file(path)
            return Path(path).read_bytes()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        path = self._path(key)
        with read_errors("read", local_uri(path)), open(path, "rb") as file:
            file.seek(start)
            return file.read(length)

    def download(self, key: str, destination: Path, most_bytes: int | None = None) -> Downloaded:
        path = self._path(key)
        uri = local_uri(path)
        with read_errors("read", uri):
            regular_file(path)
            source = open(path, "rb")  # noqa: SIM115 (closed below, under another error's name)
        with source, write_errors("write", local_uri(str(destination))), open(destination, "wb") as target:
            before = os.fstat(source.fileno())
            if most_bytes is not None and before.st_size > most_bytes:
                raise too_large(most_bytes)
            digest, size_bytes = hashlib.sha256(), 0
            while chunk := _read_chunk(source, uri):
                digest.update(chunk)
                size_bytes += target.write(chunk)
            after = os.fstat(source.fileno())
        if size_bytes != before.st_size or etag_of(before) != etag_of(after):
            raise SourceChanged(f"cannot read {uri}: it changed while it was being read")
        return Downloaded(digest.hexdigest(), size_bytes, etag_of(before))

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with write_errors("write", local_uri(path)), _temporary_file(path, data) as temporary:
            os.replace(temporary, path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with write_errors("write", local_uri(path)):
            if os.path.lexists(path):
                return False
            with _temporary_file(path, data) as temporary:
                return _link(temporary, path)

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with read_errors("look up", local_uri(path)):  # a failing disk must not look like an absent file
            try:
                return stat.S_ISREG(os.stat(path).st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def delete(self, key: str) -> None:
        path = self._path(key)
        with write_errors("delete", local_uri(path)), suppress(FileNotFoundError):
            os.unlink(path)

    def sweep(self) -> None:
        before_s = time.time() - _ABANDONED_AFTER_S
        for directory, _, names in os.walk(self.root):
            for name in names:
                if name.startswith(TEMPORARY_PREFIX):
                    path = os.path.join(directory, name)
                    with suppress(OSError):  # it harms nobody where it is
                        if os.stat(path).st_mtime < before_s:
                            os.unlink(path)

    def child(self, name: str) -> LocalFolder:
        return LocalFolder(self._path(name.strip("/")))

    def _path(self, key: str) -> str:
        """Refuses keys that lead out of the folder: some are made from untrusted input."""
        parts = key.split("/")
        if not key or "\0" in key or any(part in ("", ".", "..") for part in parts):
            raise NotFound(f"{key!r} is no name of a file below {self.uri}")
        return os.path.join(self.root, key)


def _read_chunk(file: BinaryIO, uri: str) -> bytes:
    with read_errors("read", uri):
        return file.read(_CHUNK_BYTES)


def etag_of(status: os.stat_result) -> str:
    """Changes when a file is written to or replaced, even if the time or the size stays the same."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def walk(root: bytes, start: bytes) -> Iterator[bytes]:
    """Paths below `root`, except of directories, starting with the folder `start` (empty, or ending in `/`).

    In the order of their bytes, as S3 lists keys. A directory that cannot be read is given as if it were a
    file. Memory: the names of the directories that are open, from the top to the present one.
    """
    open_directories = [(start, _entries(root, start), _identity(root, start))]
    while open_directories:
        prefix, names, _ = open_directories[-1]
        if not names:
            open_directories.pop()
            continue
        path = prefix + names.pop()
        if not path.endswith(b"/"):
            yield path
            continue
        try:
            identity = _identity(root, path)
            if all(identity != other for _, _, other in open_directories):
                open_directories.append((path, _entries(root, path, is_top=False), identity))
        except OSError as exc:
            raise_if_of_the_machine(exc)
            yield path[:-1]


def _entries(root: bytes, directory: bytes, is_top: bool = True) -> list[bytes]:
    """Names in a directory, last one first; directories end in `/`, so that they sort as their files do."""
    try:
        with os.scandir(os.path.join(root, directory)) as entries:
            names = [entry.name + b"/" if _is_directory(entry) else entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        if is_top:
            return []
        raise
    names = [name for name in names if not name.startswith(TEMPORARY_PREFIX.encode())]
    return sorted(names, reverse=True)


def _is_directory(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to a place without permission
        return False


def _identity(root: bytes, directory: bytes) -> tuple[int, int]:
    try:
        status = os.stat(os.path.join(root, directory))
    except (FileNotFoundError, NotADirectoryError):
        return (-1, -1)
    return (status.st_dev, status.st_ino)


def regular_file(path: str | os.PathLike[str]) -> os.stat_result:
    """The file's status. Raises FileNotFoundError for directories, and for pipes and devices: opening one
    may wait for ever."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        is_directory = stat.S_ISDIR(status.st_mode)
        raise FileNotFoundError(errno.ENOENT, f"it is {'a directory' if is_directory else 'no regular file'}")
    return status


@contextmanager
def _temporary_file(path: str, data: bytes) -> Generator[str]:
    """A file with these bytes, flushed to disk, in the directory of `path`; removed at the end of the block."""
    directory = os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    temporary = os.path.join(directory, TEMPORARY_PREFIX + secrets.token_hex(8))
    # Not `tempfile`, which gives permissions to the owner only: results get those of the umask.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _link(temporary: str, path: str) -> bool:
    """Give the file its name unless the name is taken. Of concurrent callers one succeeds."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        # Some mounts have no hard links. The file is still whole or absent, but two callers may both get True.
        if os.path.lexists(path):
            return False
        os.replace(temporary, path)
    return True
