"""What a store says of one object: the reference that planning takes, or that it cannot be had."""

from __future__ import annotations

from pipeline.errors import NotFound, PermissionDenied, StorageError
from pipeline.records import DocumentRef
from pipeline.storage import ObjectInfo
from pipeline.storage.uris import is_s3_uri, storable_name


def reference(info: ObjectInfo, name: str | None = None) -> DocumentRef:
    """Named by its key, unless it is said otherwise."""
    return DocumentRef(
        uri=info.uri,
        etag=info.etag,
        size_bytes=info.size_bytes,
        name=storable_name(info.key if name is None else name),
    )


def errors_of_one(uri: str) -> tuple[type[StorageError], ...]:
    """What concerns this object alone, and not all that a store holds. What a file system says of one path (a link to
    itself, a name that is too long, a bad sector) is of that path."""
    return (NotFound, PermissionDenied) if is_s3_uri(uri) else (StorageError,)
