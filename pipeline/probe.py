"""From a reference to a document: fetch it, hash it, open it in the sandbox.

Whatever is wrong with the object becomes the document's status and detail; only faults of the store itself raise.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace

from pipeline.errors import NotFound, PermissionDenied, StorageError
from pipeline.fetch import SourceCache, SourceChanged
from pipeline.rasterize.sandbox import Probe, Sandbox
from pipeline.records import Document, DocumentRef, DocumentStatus

_MAX_EVICTIONS = 5
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Prober:
    """What planning calls for each new object."""

    cache: SourceCache
    sandbox: Sandbox
    max_document_bytes: int
    max_pages: int

    async def probe(self, ref: DocumentRef) -> Document:
        if ref.size_bytes == 0:
            return _document(ref, DocumentStatus.EMPTY, "the object has no bytes", _EMPTY_SHA256)
        if ref.size_bytes > self.max_document_bytes:
            limit_mb = self.max_document_bytes >> 20
            return _document(
                ref, DocumentStatus.TOO_LARGE, f"larger than {limit_mb} MB (setting plan.max_document_mb)"
            )
        try:
            probe, doc_id, size_bytes = await self._fetch_and_probe(ref)
        except (NotFound, PermissionDenied, SourceChanged) as exc:
            return _document(ref, DocumentStatus.UNREADABLE, str(exc))
        if probe.num_pages > self.max_pages:
            detail = f"{probe.num_pages} pages; the limit is {self.max_pages} (setting plan.max_document_pages)"
            probe = replace(probe, status=DocumentStatus.TOO_LARGE, num_pages=0, detail=detail)
        return Document(
            uri=ref.uri,
            etag=ref.etag,
            size_bytes=size_bytes,
            doc_id=doc_id,
            media_type=probe.media_type,
            num_pages=probe.num_pages,
            status=probe.status,
            detail=probe.detail,
            metadata=probe.metadata,
        )

    async def _fetch_and_probe(self, ref: DocumentRef) -> tuple[Probe, str, int]:
        """What the document is, its sha256 and its size. Fetches again if the cache lost it before it was read."""
        for _ in range(_MAX_EVICTIONS):
            path, doc_id, size_bytes = await asyncio.to_thread(self.cache.fetch_new, ref)
            try:
                probe = await self.sandbox.probe(path)
            except OSError as exc:
                if path.exists():
                    raise NotFound(f"cannot read {ref.uri}: {exc.strerror}") from exc
                continue
            if path.exists():
                return probe, doc_id, size_bytes
        raise StorageError(f"{ref.uri} vanished from the cache {_MAX_EVICTIONS} times: raise flow.cache_mb")


def _document(ref: DocumentRef, status: DocumentStatus, detail: str, doc_id: str = "") -> Document:
    return Document(
        uri=ref.uri,
        etag=ref.etag,
        size_bytes=max(0, ref.size_bytes),
        doc_id=doc_id,
        media_type="",
        num_pages=0,
        status=status,
        detail=detail,
    )
