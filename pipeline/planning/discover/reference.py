"""From what a store says of one object to the reference that planning takes."""

from __future__ import annotations

from quire.records import DocumentRef
from quire.storage import ObjectInfo
from quire.storage.uris import storable_name


def reference(info: ObjectInfo, name: str | None = None) -> DocumentRef:
    """Named by its key, unless `name` is given."""
    return DocumentRef(
        uri=info.uri,
        etag=info.etag,
        size_bytes=info.size_bytes,
        name=storable_name(info.key if name is None else name),
    )
