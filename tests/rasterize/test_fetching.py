"""Fetch, then render: what is the document's fault becomes a row, what is not is raised."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quire.config.sections import PlanSettings, RenderSettings, StorageSettings
from quire.errors import ConfigError, StorageError
from quire.planning.discover import discover
from quire.planning.probe import Prober
from quire.rasterize.fetching import FetchingRasterizer
from quire.rasterize.held_image import Rasterized
from quire.rasterize.sandbox import Probe, Sandbox
from quire.records import DocumentStatus, PageImage, PageRange, RasterizedPage
from quire.storage.source_cache import SourceCache
from tests import documents
from tests.conftest import TestBucket

PDF = documents.pdf([f"page {index}" for index in range(4)])
OTHER = documents.pdf([f"another {index}" for index in range(4)])


def page_range(uri: str, data: bytes = PDF) -> PageRange:
    doc_id = hashlib.sha256(data).hexdigest()
    return PageRange(uri, "etag", len(data), doc_id, "application/pdf", 4, 0, 4)


async def render(cache: SourceCache, sandbox: Sandbox, source: PageRange) -> list[RasterizedPage]:
    rasterizer = FetchingRasterizer(cache, sandbox)
    return [page async for page, _ in rasterizer.rasterize(source, range(4), "tiny")]


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
    async for page, _ in FetchingRasterizer(cache, sandbox).rasterize(source, range(4), "tiny"):
        pages.append(page)
        (tmp_path / "cache" / source.doc_id).unlink(missing_ok=True)
    assert [page.page_index for page in pages] == [0, 1, 2, 3]
    assert not [page.failure for page in pages if page.failure]


class EvictedFirst(Sandbox):
    """Two times the cache's file is gone just before it is opened, and another process fetches it again at once."""

    num_left = 2

    async def probe(self, path: Path) -> Probe:
        with self.evicted(path):
            return await super().probe(path)

    async def rasterize(self, path: Path, *arguments: Any) -> AsyncIterator[Rasterized[PageImage]]:
        with self.evicted(path):
            async for rasterized in super().rasterize(path, *arguments):
                yield rasterized

    @contextmanager
    def evicted(self, path: Path) -> Generator[None]:
        self.num_left, data = self.num_left - 1, path.read_bytes()
        if self.num_left >= 0:
            path.unlink()
        try:
            yield
        finally:
            path.write_bytes(data)


@pytest_asyncio.fixture(loop_scope="module")
async def evicted() -> AsyncIterator[EvictedFirst]:
    async with EvictedFirst(RenderSettings(), num_workers=1) as sandbox:
        yield sandbox


async def test_no_page_is_blamed_where_its_document_was_evicted_and_is_back_at_once(
    tmp_path: Path, evicted: EvictedFirst, moto_bucket: TestBucket
) -> None:
    moto_bucket.put("a.pdf", PDF)
    cache = SourceCache(tmp_path / "cache", 1 << 20, moto_bucket.settings)
    pages = await render(cache, evicted, page_range(f"{moto_bucket.uri}/a.pdf"))
    assert [(page.page_index, page.failure) for page in pages] == [(index, None) for index in range(4)]
    assert evicted.num_left == -1


async def test_no_document_is_blamed_where_it_was_evicted_and_is_back_at_once(
    tmp_path: Path, evicted: EvictedFirst, moto_bucket: TestBucket
) -> None:
    moto_bucket.put("a.pdf", PDF)
    (ref,) = discover([f"{moto_bucket.uri}/a.pdf"], moto_bucket.settings)
    prober = Prober(
        SourceCache(tmp_path / "cache", 1 << 20, moto_bucket.settings),
        evicted,
        PlanSettings(max_document_mb=1, max_document_pages=10),
    )
    document = await prober.probe(ref)
    assert (document.status, document.num_pages, document.detail) == (DocumentStatus.OK, 4, "")
    assert evicted.num_left == -1


def rewrite(path: Path) -> None:
    path.write_bytes(OTHER)


def replace_by_another(path: Path) -> None:
    path.with_suffix(".new").write_bytes(OTHER)
    path.with_suffix(".new").replace(path)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (rewrite, ["", "", "source_changed", "source_changed"]),
        (replace_by_another, ["", "", "source_changed", "source_changed"]),
        (Path.unlink, ["", "", "source_missing", "source_missing"]),
        (touch, ["", "", "", ""]),
    ],
)
async def test_a_local_document_that_changes_while_it_is_read_gives_no_mixture(
    tmp_path: Path, sandbox: Sandbox, change: Callable[[Path], None], kinds: list[str]
) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(PDF)
    rasterizer = FetchingRasterizer(SourceCache(tmp_path / "cache", 1 << 20, StorageSettings()), sandbox)
    pages = []
    async for page, _ in rasterizer.rasterize(page_range(str(path)), range(4), "tiny"):
        pages.append(page)
        if page.page_index == 1:
            change(path)
    assert [page.failure.kind if page.failure else "" for page in pages] == kinds


async def test_a_password_that_planning_had_is_asked_for_again(tmp_path: Path, sandbox: Sandbox) -> None:
    data = documents.encrypted_pdf("secret")
    (tmp_path / "a.pdf").write_bytes(data)
    cache = SourceCache(tmp_path / "cache", 1 << 20, StorageSettings())
    with pytest.raises(ConfigError, match="give --passwords again"):
        await render(cache, sandbox, page_range(str(tmp_path / "a.pdf"), data))
