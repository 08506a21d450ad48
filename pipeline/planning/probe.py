"""From a reference to a document: fetch it, hash it, open it in the sandbox.

Whatever is wrong with the object becomes the document's status and detail; only faults of the store itself raise.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from quire.config.sections import PlanSettings
from quire.errors import ObjectError, TooLarge
from quire.rasterize.sandbox import Probe, Sandbox
from quire.records import Document, DocumentRef, DocumentStatus
from quire.storage.base import too_large
from quire.storage.fetcher import MOST_FETCHES, Fetcher, changed_too_often
from quire.storage.source_cache import SourceCache, SourceFile

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class Prober:
    """Probes each new object for planning, within the limits of the settings."""

    def __init__(self, cache: SourceCache, sandbox: Sandbox, limits: PlanSettings) -> None:
        self._fetcher = Fetcher(cache, limits.num_fetches)
        self._sandbox = sandbox
        self._most_bytes = limits.max_document_mb << 20
        self._most_pages = limits.max_document_pages

    async def probe(self, ref: DocumentRef) -> Document:
        if ref.size_bytes == 0:
            return _document(ref, DocumentStatus.EMPTY, "the object has no bytes", _EMPTY_SHA256)
        if ref.size_bytes > self._most_bytes:
            return _document(ref, DocumentStatus.TOO_LARGE, str(too_large(self._most_bytes)))
        try:
            probe, file = await self._fetch_and_probe(ref)
        except TooLarge as exc:
            return _document(ref, DocumentStatus.TOO_LARGE, str(exc))
        except ObjectError as exc:
            return _document(ref, DocumentStatus.UNREADABLE, str(exc))
        if probe.num_pages > self._most_pages:
            detail = f"{probe.num_pages} pages; the limit is {self._most_pages} (setting plan.max_document_pages)"
            probe = replace(probe, status=DocumentStatus.TOO_LARGE, num_pages=0, detail=detail)
        return Document(
            uri=ref.uri,
            etag=ref.etag,
            size_bytes=file.size_bytes,
            doc_id=file.doc_id,
            media_type=probe.media_type,
            num_pages=probe.num_pages,
            status=probe.status,
            detail=probe.detail,
            metadata=probe.metadata,
        )

    async def _fetch_and_probe(self, ref: DocumentRef) -> tuple[Probe, SourceFile]:
        """What the document is, and the file that was probed. Fetches again if the file changed, or was evicted from
        the cache, before it was read."""
        for _ in range(MOST_FETCHES):
            file = await self._fetcher.fetch_new(ref, self._most_bytes)
            with file.held(ref.uri):
                probe = await self._sandbox.probe(file.path)
                if file.is_unchanged():
                    return probe, file
        raise changed_too_often(ref.uri)


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
