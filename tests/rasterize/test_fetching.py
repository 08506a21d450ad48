"""Fetch, then render: what is the document's fault becomes a row, what is not is raised."""

import hashlib
from pathlib import Path

import pytest

from pipeline.config import StorageSettings
from pipeline.errors import ConfigError, StorageError
from pipeline.fetch import SourceCache
from pipeline.rasterize.fetching import FetchingRasterizer
from pipeline.rasterize.sandbox import Sandbox
from pipeline.records import PageImage, PageRange, RasterizedPage
from tests import documents
from tests.conftest import TestBucket

PDF = documents.pdf([f"page {index}" for index in range(4)])


def page_range(uri: str, data: bytes = PDF) -> PageRange:
    doc_id = hashlib.sha256(data).hexdigest()
    return PageRange(uri, "etag", len(data), doc_id, "application/pdf", 4, 0, 4)


async def render(cache: SourceCache, sandbox: Sandbox, source: PageRange) -> list[RasterizedPage[PageImage]]:
    rasterizer = FetchingRasterizer(cache, sandbox)
    return [page async for page in rasterizer.rasterize(source, range(4), "tiny")]


async def test_changed_and_missing_documents_are_failures(tmp_path: Path, sandbox: Sandbox) -> None:
    cache = SourceCache(tmp_path / "cache", 1 << 20, StorageSettings())
    (tmp_path / "a.pdf").write_bytes(documents.pdf(["another"]))
    for name, kind in (("a.pdf", "source_changed"), ("b.pdf", "source_missing")):
        pages = await render(cache, sandbox, page_range(str(tmp_path / name)))
        assert [page.page_index for page in pages] == [0, 1, 2, 3]
        assert {page.failure.kind for page in pages if page.failure} == {kind}


async def test_a_folder_that_is_not_mounted_is_no_documents_fault(tmp_path: Path, sandbox: Sandbox) -> None:
    cache = SourceCache(tmp_path / "cache", 1 << 20, StorageSettings())
    with pytest.raises(StorageError, match="its folder is not here"):
        await render(cache, sandbox, page_range(str(tmp_path / "nfs/a.pdf")))


async def test_refused_credentials_are_no_documents_fault(
    tmp_path: Path, sandbox: Sandbox, moto_bucket: TestBucket
) -> None:
    """As when a token runs out in the night: the run stops, and no page is written down as failed."""
    moto_bucket.put("a.pdf", PDF)
    unreachable = SourceCache(tmp_path / "cache", 1 << 20, StorageSettings(
        endpoint_url="http://127.0.0.1:1", max_retries=1, retry_timeout_s=1
    ))  # fmt: skip
    with pytest.raises(StorageError):
        await render(unreachable, sandbox, page_range(f"{moto_bucket.uri}/a.pdf"))


async def test_a_document_that_is_evicted_while_it_is_read_is_fetched_again(
    tmp_path: Path, sandbox: Sandbox, moto_bucket: TestBucket
) -> None:
    moto_bucket.put("a.pdf", PDF)
    cache = SourceCache(tmp_path / "cache", 1 << 20, moto_bucket.settings)
    source = page_range(f"{moto_bucket.uri}/a.pdf")
    pages = []
    async for page in FetchingRasterizer(cache, sandbox).rasterize(source, range(4), "tiny"):
        pages.append(page)
        (tmp_path / "cache" / source.doc_id).unlink(missing_ok=True)
    assert [page.page_index for page in pages] == [0, 1, 2, 3]
    assert not [page.failure for page in pages if page.failure]


async def test_a_password_that_planning_had_is_asked_for_again(tmp_path: Path, sandbox: Sandbox) -> None:
    data = documents.encrypted_pdf("secret")
    (tmp_path / "a.pdf").write_bytes(data)
    cache = SourceCache(tmp_path / "cache", 1 << 20, StorageSettings())
    with pytest.raises(ConfigError, match="give --passwords again"):
        await render(cache, sandbox, page_range(str(tmp_path / "a.pdf"), data))
