"""What a folder does, in every kind of store. Knows no store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quire.errors import TooLarge


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as the store describes it.

    `key` is relative to the folder and exact: it may hold anything that the store allows in keys. `uri` names
    the object by itself (see `uris.py`). `etag` is without quotes, and changes when the object does; it is
    compared, never parsed. An object that a local listing finds but cannot describe (a dangling link, a
    directory that may not be read) has an empty etag and size -1.
    """

    key: str
    uri: str
    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What was read. `sha256` (hex) is of the bytes that came. `etag` came from the store with these bytes, not with an
    earlier listing."""

    sha256: str
    size_bytes: int
    etag: str


def too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"larger than {most_bytes >> 20} MB (setting plan.max_document_mb)")


class Folder(Protocol):
    """A prefix in a bucket or a local directory. Keys are relative to it, with `/` between their parts."""

    @property
    def uri(self) -> str:
        """`open_folder` of it gives the same folder. Ends in a slash only if the folder's name does."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, at any depth, in the order of their keys' UTF-8 bytes;
        Azure has an order of its own.

        Streams: memory does not grow with their number. A folder that does not exist is empty; a bucket that
        does not exist raises FolderNotFound. Left out: empty objects that stand for directories (`a/`) and
        unfinished local writes.
        """

    def info(self, key: str) -> ObjectInfo:
        """Raises NotFound."""

    def get(self, key: str) -> bytes:
        """The whole object in memory. Raises NotFound."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, which must lie within the object. Raises NotFound."""

    def download(self, key: str, destination: Path, most_bytes: int | None = None) -> Downloaded:
        """Stream the object into the file `destination`, whose content is undefined after an error.

        The bytes are checked against the size that the store announced, and against the MD5 if the etag is one.
        Raises `ObjectError` if the object is at fault; `TooLarge` before reading anything, if the announced size is
        above `most_bytes`; `DestinationGone` if the folder of `destination` is missing.
        """

    def put(self, key: str, data: bytes) -> None:
        """Write or overwrite. Readers see the old object or the whole new one."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write unless the key exists; True if this call is known to have written it.

        At most one of several concurrent callers gets True. False means: the object exists, whole. If the store's
        answer was lost and a retry says "exists", the existing object may be this call's own write.
        """

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Does nothing if the key does not exist."""

    def sweep(self) -> None:
        """Remove unfinished writes that killed writers left a day ago or earlier. Buckets keep none."""

    def child(self, name: str) -> Folder: ...
