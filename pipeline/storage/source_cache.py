"""Source documents as local files, from every kind of store.

A `SourceCache` is a directory of files named by the sha256 of what they hold. Several processes and threads
may use one at the same time; a document is downloaded once. Local documents are used where they are. Knows
nothing of what the documents are, nor of event loops (`fetcher.py`).

    <directory>/<sha256>              a document
    <directory>/locks/<3 hex digits>  taken while a document whose id begins so is downloaded
    <directory>/.quire-tmp-…          a download under way, locked; or one that a kill cut short
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from quire.config.sections import StorageSettings
from quire.errors import (
    ConfigError,
    DestinationGone,
    FolderNotFound,
    NotFound,
    ObjectError,
    SourceChanged,
    StorageError,
    Unreadable,
)
from quire.records import DocumentRef
from quire.storage import open_object
from quire.storage.eviction import evict
from quire.storage.local import TEMPORARY_PREFIX, etag_of, regular_file
from quire.storage.system_errors import read_errors, write_errors
from quire.storage.uris import is_listable, is_remote, local_path, root_of

T = TypeVar("T")

_MAX_REMEMBERED = 10_000
_COUNT_AFTER_SHARE = 0.01  # of the cache's size: a process measures it again after this many bytes
_EVICT_TO_SHARE = 0.95
_NUM_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A document's bytes as a local file, and the file's state when they were hashed (`doc_id`).

    A file of the cache may be evicted at any time, and be replaced by another one with the same bytes. A local document
    may be rewritten.
    """

    path: Path
    doc_id: str
    size_bytes: int
    state: str
    is_cached: bool

    @contextmanager
    def held(self, uri: str) -> Generator[None]:
        """Within the block `is_unchanged` can be trusted: while a file is open, no other file gets its inode's number.
        An OSError in the block ends it. If the file is still the same, the error is raised as a storage error about
        `uri`; otherwise it is dropped."""
        with ExitStack() as stack:
            with suppress(ObjectError), read_errors("open", str(self.path)):
                stack.enter_context(open(self.path, "rb"))
            try:
                yield
            except OSError:
                if self.is_unchanged():
                    with (write_errors if self.is_cached else read_errors)("read", uri):
                        raise

    def is_unchanged(self) -> bool:
        """Whether the path still leads to the same file, in the same state. Ask after it was read by its path."""
        try:
            return _state(regular_file(self.path), self.is_cached) == self.state
        except OSError:
            return False


@dataclass(slots=True)
class SourceCache:
    """Files, and what this process has verified of them.

    The directory stays under `max_bytes`, plus or minus one percent for each process, unless a single document is
    larger. The least recently used files are evicted first, even while they are read: a reader holds its file
    (`SourceFile.held`), and fetches again if it was evicted.
    """

    directory: Path
    max_bytes: int
    settings: StorageSettings
    _verified: dict[tuple[str, str], str] = field(default_factory=dict)
    _bytes_since_count: int | None = None  # None: never counted
    _given: dict[str, str] = field(default_factory=dict)  # the last object read from a bucket, by the bucket's URI
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, uri: str, doc_id: str, size_bytes: int) -> SourceFile:
        """A local file with the bytes whose sha256 is `doc_id`.

        Raises `ObjectError` if the document is at fault: `SourceChanged` if the source holds other bytes, `NotFound`
        if it no longer exists. If its folder is missing too, or nothing else there can be
        read either: a plain `StorageError`.
        """
        try:
            return _twice(lambda: self._fetch(uri, doc_id, size_bytes))
        except FolderNotFound as exc:
            raise StorageError(str(exc)) from exc
        except (NotFound, SourceChanged):
            raise
        except ObjectError as exc:
            if not is_listable(uri) or self._gives_others(uri):  # a URL is judged alone
                raise
            raise StorageError(f"{exc} (nor can anything else be read there)") from exc

    def fetch_new(self, ref: DocumentRef, most_bytes: int | None = None) -> SourceFile:
        """A local file with the document's bytes.

        Raises `ObjectError` if the document is at fault. `SourceChanged`: the object is no longer the one that was
        listed, and a plan must not record an etag with other bytes. `TooLarge`: it has more than `most_bytes`, which
        the listing may not have shown.
        """
        try:
            return _twice(lambda: self._fetch_new(ref, most_bytes))
        except ConfigError as exc:  # a manifest's line of a kind that Quire does not read
            raise NotFound(str(exc)) from exc

    def _fetch(self, uri: str, doc_id: str, size_bytes: int) -> SourceFile:
        if not is_remote(uri):
            path = local_path(uri)
            if not os.path.isdir(os.path.dirname(path)):  # not mounted, or another machine
                raise FolderNotFound(
                    f"cannot read {uri}: its folder is not here. Mount it; or, if it was deleted for good, make an "
                    "empty folder in its place, so that its pages are recorded as missing"
                )
            found = self._hashed(Path(path), uri)
            if found.doc_id != doc_id:
                raise SourceChanged(f"{uri} has changed since it was planned; plan again")
            return found
        with self._locked(doc_id):
            target = self.directory / doc_id
            if not self._is_cached(target, doc_id, size_bytes):
                self._download(uri, doc_id, size_bytes)
            return self._hashed(target, str(target))

    def _fetch_new(self, ref: DocumentRef, most_bytes: int | None) -> SourceFile:
        if is_remote(ref.uri):
            found, etag = self._download(ref.uri, "", max(0, ref.size_bytes), most_bytes)
        else:
            found = self._hashed(Path(local_path(ref.uri)), ref.uri)
            etag = found.state
        if ref.etag and etag != ref.etag:
            raise SourceChanged(f"{ref.uri} has changed since it was listed; run again")
        if ref.etag and found.size_bytes != ref.size_bytes:
            raise Unreadable(
                f"{ref.uri} is listed with {ref.size_bytes} bytes and read with {found.size_bytes}; write it anew"
            )
        return found

    def _gives_others(self, uri: str) -> bool:
        """Whether another object of the same store can be read: the last one that was, or one beside this one."""
        folder, key = open_object(uri, self.settings)
        others = [given] if (given := self._given.get(root_of(uri), "")) not in ("", key) else []
        with suppress(ObjectError):  # without permission to list, an earlier read may still count
            beside = folder.list(key[: key.rfind("/") + 1])
            others += islice(
                (info.key for info in beside if info.key != key and info.size_bytes > 0), _NUM_NEIGHBOURS
            )
        for other in others:
            with suppress(ObjectError):
                folder.get_range(other, 0, 1)
                return True
        return False

    def _is_cached(self, target: Path, doc_id: str, size_bytes: int) -> bool:
        """Whether the file exists and holds what its name says; marks it as used. A power cut may have left a file
        of zeros, so each process checks the hash of a file once before it trusts it."""
        try:
            is_whole = target.stat().st_size == size_bytes and self._hashed(target, str(target)).doc_id == doc_id
            if is_whole:
                os.utime(target)
        except (OSError, StorageError):  # evicted, or the disk cannot read it: download again
            return False
        return is_whole

    def _download(
        self, uri: str, doc_id: str, size_bytes: int, most_bytes: int | None = None
    ) -> tuple[SourceFile, str]:
        """The file, named by the hash of its bytes (which must be `doc_id` if that is given); and the store's etag."""
        self._make_room(size_bytes)
        folder, key = open_object(uri, self.settings)
        with self._temporary_file() as temporary:
            got = folder.download(key, temporary, most_bytes)
            if doc_id and got.sha256 != doc_id:
                raise SourceChanged(f"{uri} has changed since it was planned; plan again")
            target = self.directory / got.sha256
            with write_errors("write", str(target)):
                state = self._state_of(temporary)  # stays the same after the renaming, unless it is evicted
                os.replace(temporary, target)
        self._remember(target, state, got.sha256)
        self._given[root_of(uri)] = key
        return SourceFile(target, got.sha256, got.size_bytes, state, is_cached=True), got.etag

    @contextmanager
    def _temporary_file(self) -> Generator[Path]:
        """An empty file in the directory, locked so that it does not look abandoned."""
        with write_errors("write", str(self.directory)):
            self.directory.mkdir(parents=True, exist_ok=True)
            temporary = self.directory / (TEMPORARY_PREFIX + secrets.token_hex(8))
            file = open(temporary, "xb")  # noqa: SIM115 (closed below, under no error's name)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield temporary
            finally:
                with suppress(FileNotFoundError):
                    temporary.unlink()

    def _hashed(self, path: Path, uri: str) -> SourceFile:
        """A local file with its sha256; read once per process as long as it does not change."""
        is_cached = path.parent == self.directory
        with (write_errors if is_cached else read_errors)("read", uri):
            status = regular_file(path)
            state = _state(status, is_cached)
            sha256 = self._verified.get((str(path), state))
            if sha256 is None:
                with open(path, "rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                if self._state_of(path) != state:
                    error = DestinationGone if is_cached else SourceChanged
                    raise error(f"{uri} changed while it was being read; try again")
                self._remember(path, state, sha256)
        return SourceFile(path, sha256, status.st_size, state, is_cached)

    def _state_of(self, path: Path) -> str:
        return _state(regular_file(path), is_cached=path.parent == self.directory)

    def _remember(self, path: Path, state: str, sha256: str) -> None:
        with self._guard:
            if len(self._verified) >= _MAX_REMEMBERED:
                self._verified.clear()
            self._verified[str(path), state] = sha256

    @contextmanager
    def _locked(self, doc_id: str) -> Generator[None]:
        """A lock between threads and between processes. The system releases it when a process dies."""
        lock = self.directory / "locks" / doc_id[:3]
        with write_errors("lock", str(lock)):
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make_room(self, size_bytes: int) -> None:
        """Evict if needed. Looking at every file is expensive, so it is done only now and then."""
        with self._guard:
            if self._bytes_since_count is not None:
                self._bytes_since_count += size_bytes
                if self._bytes_since_count < self.max_bytes * _COUNT_AFTER_SHARE:
                    return
            self._bytes_since_count = size_bytes
            with write_errors("make room in", str(self.directory)):
                evict(self.directory, int(self.max_bytes * _EVICT_TO_SHARE) - size_bytes)


def _twice(call: Callable[[], T]) -> T:
    """An error about an object counts only if it comes twice. The cause may also be that the cache's folder, or a
    file in it, was deleted meanwhile: by a cleaner of temporary files, or by another process that evicted."""
    try:
        return call()
    except (ObjectError, DestinationGone):
        return call()


def _state(status: os.stat_result, is_cached: bool) -> str:
    """For a file of the cache without its time, which says only when it was last used."""
    return f"{status.st_ino}-{status.st_size}" if is_cached else etag_of(status)
