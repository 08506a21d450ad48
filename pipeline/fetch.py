"""Source documents as local files, whatever store they are in.

A `SourceCache` is a directory of files named by the sha256 of what they hold. Several processes and threads
may use one at the same time; a document is downloaded once. Local documents are used where they are. Knows
nothing of what the documents are.

    <directory>/<sha256>              a document
    <directory>/locks/<3 hex digits>  taken while a document whose id begins so is downloaded
    <directory>/.quire-tmp-…          a download under way, or one that a kill cut short
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import StorageSettings
from pipeline.errors import ConfigError, NotFound, StorageError
from pipeline.records import DocumentRef
from pipeline.storage import open_object
from pipeline.storage.local import TEMPORARY_PREFIX, etag_of, mapped_errors, regular_file
from pipeline.storage.uris import is_s3_uri, local_path

_CACHED_NAME = re.compile(r"[0-9a-f]{64}")
_ABANDONED_AFTER_S = 24 * 3600.0
_MAX_REMEMBERED = 10_000
_COUNT_AFTER_SHARE = 0.01  # of the cache's size: each process looks again after so many bytes of its own
_EVICT_TO_SHARE = 0.95


class SourceChanged(StorageError):
    """The bytes at a URI are no longer those that were planned."""


@dataclass(slots=True)
class SourceCache:
    """Files, and what this process has verified of them.

    The directory stays under `max_bytes` give or take one percent for each process, unless a single document
    is larger. Files that were used longest ago go first, also while somebody reads them: `FetchingRasterizer` and
    `Prober` fetch again when a path is gone.
    """

    directory: Path
    max_bytes: int
    settings: StorageSettings
    _verified: dict[tuple[str, str], str] = field(default_factory=dict)
    _bytes_since_count: int | None = None  # None: never counted
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, uri: str, doc_id: str, size_bytes: int) -> Path:
        """A local file with the bytes whose sha256 is `doc_id`.

        Raises SourceChanged if the source holds other bytes, NotFound if it is gone, or as the store does.
        """
        if not is_s3_uri(uri):
            path = Path(local_path(uri))
            if not path.parent.is_dir():  # not mounted, or another machine: nothing to do with the document
                raise StorageError(
                    f"cannot read {uri}: its folder is not here. Mount it; or, if it was deleted for good, make an "
                    "empty folder in its place, so that its pages are recorded as missing"
                )
            if self._sha256(path, uri) != doc_id:
                raise SourceChanged(f"{uri} has changed since it was planned; plan again")
            return path
        target = self.directory / doc_id
        with self._locked(doc_id):
            if not self._is_cached(target, doc_id, size_bytes):
                self._download(uri, doc_id, size_bytes)
            return target

    def fetch_new(self, ref: DocumentRef) -> tuple[Path, str, int]:
        """A local file with the document's bytes, their sha256 in hex, and their size in bytes.

        Raises SourceChanged if the object is no longer the one that was listed: a plan must not say of an etag that it
        stands for other bytes.
        """
        try:
            if is_s3_uri(ref.uri):
                found = self._download(ref.uri, "", max(0, ref.size_bytes))
                folder, key = open_object(ref.uri, self.settings)
                if ref.etag and folder.info(key).etag != ref.etag:
                    raise SourceChanged(f"{ref.uri} has changed since it was listed; run again")
                return found
            path = Path(local_path(ref.uri))
        except ConfigError as exc:  # a manifest's line that is of no kind read here
            raise NotFound(str(exc)) from exc
        doc_id = self._sha256(path, ref.uri)
        with mapped_errors("read", ref.uri):
            return path, doc_id, path.stat().st_size

    def _is_cached(self, target: Path, doc_id: str, size_bytes: int) -> bool:
        """Whether the file is there and holds what its name says; marks it as used. A power cut may have left
        a file of zeros, so each process reads a file once before it trusts it."""
        try:
            is_whole = target.stat().st_size == size_bytes and self._sha256(target, str(target)) == doc_id
            if is_whole:
                os.utime(target)
        except (FileNotFoundError, NotFound):
            return False
        return is_whole

    def _download(self, uri: str, doc_id: str, size_bytes: int) -> tuple[Path, str, int]:
        """Fetch into a file named by its content, which must be `doc_id` unless that is empty."""
        self._make_room(size_bytes)
        folder, key = open_object(uri, self.settings)
        with mapped_errors("write", str(self.directory)):
            self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.directory / (TEMPORARY_PREFIX + secrets.token_hex(8))
        try:
            sha256, size_bytes = folder.download(key, temporary)
            if doc_id and sha256 != doc_id:
                raise SourceChanged(f"{uri} has changed since it was planned; plan again")
            target = self.directory / sha256
            with mapped_errors("write", str(target)):
                state = self._state_of(temporary)  # the same after the renaming, if it is still there then
                os.replace(temporary, target)
            self._remember(target, state, sha256)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        return target, sha256, size_bytes

    def _sha256(self, path: Path, uri: str) -> str:
        """Of a local file; read once per process as long as it does not change."""
        with mapped_errors("read", uri):
            state = self._state_of(path)
            known = self._verified.get((str(path), state))
            if known is not None:
                return known
            with open(path, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if self._state_of(path) != state:
                raise SourceChanged(f"{uri} changed while it was being read; try again")
        self._remember(path, state, sha256)
        return sha256

    def _state_of(self, path: Path) -> str:
        """For a file of the cache only which file it is: its time is when it was last used."""
        status = regular_file(path)
        return f"{status.st_ino}-{status.st_size}" if path.parent == self.directory else etag_of(status)

    def _remember(self, path: Path, state: str, sha256: str) -> None:
        with self._guard:
            if len(self._verified) >= _MAX_REMEMBERED:
                self._verified.clear()
            self._verified[str(path), state] = sha256

    @contextmanager
    def _locked(self, doc_id: str) -> Generator[None]:
        """Holds for threads and processes alike; the system lets go of it when a process dies."""
        lock = self.directory / "locks" / doc_id[:3]
        with mapped_errors("lock", str(lock)):
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make_room(self, size_bytes: int) -> None:
        """Evict if need be. Looking at every file is what costs, so it is done now and then."""
        with self._guard:
            if self._bytes_since_count is not None:
                self._bytes_since_count += size_bytes
                if self._bytes_since_count < self.max_bytes * _COUNT_AFTER_SHARE:
                    return
            self._bytes_since_count = size_bytes
            evict(self.directory, int(self.max_bytes * _EVICT_TO_SHARE) - size_bytes)


def evict(directory: Path, max_bytes: int) -> None:
    """Delete the files used longest ago until the rest is within `max_bytes`. Downloads under way stay."""
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
                elif time.time() - status.st_mtime > _ABANDONED_AFTER_S:
                    os.unlink(entry.path)
    total_bytes = sum(size_bytes for _, size_bytes, _ in files)
    for _, size_bytes, path in sorted(files):
        if total_bytes <= max_bytes:
            return
        with suppress(FileNotFoundError):
            os.unlink(path)
        total_bytes -= size_bytes
