"""Real documents, the nasty ones above all, where the corpus lies beside the repository: ../shared/corpus.

Every one of them ends as it deserves, within its limits, and takes no neighbour with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from quire.config.sections import RenderSettings
from quire.rasterize.sandbox import Sandbox
from quire.records import DocumentStatus
from tests.rasterize.rasterizing import render

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
PASSWORD = "asdfzxcv"  # the public sample file's, given in its repository

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of real documents at ../shared/corpus")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """One sandbox for all of them: that is how they come in a run, one nasty document after another."""
    made = Sandbox(RenderSettings(), num_workers=1)
    yield made
    await made.close()


NASTY = [
    # file, status, pages, renderer, pages without ink among the first four
    ("pdfjs__bug1978317.pdf", "ok", 1, "mupdf", []),
    ("ocrmypdf__hugemono.pdf", "ok", 1, "mupdf", []),
    ("ocrmypdf__poster.pdf", "ok", 1, "mupdf", []),
    ("pdfjs__poppler-67295-0.pdf", "ok", 1, "pdfium", []),
    ("pdfjs__issue9418.pdf", "ok", 1, "pdfium", []),
    ("pdfplumber__empty.pdf", "empty", 0, "", []),
    ("ocrmypdf__invalid.pdf", "corrupt", 0, "", []),
    ("pypdf__r6-user-password.pdf", "encrypted", 0, "", []),
    ("unstructured__copy-protected.pdf", "ok", 2, "mupdf", []),
    ("pdfjs__TAMReview.pdf", "ok", 23, "mupdf", []),
    ("pdfjs__xfa_issue14315.pdf", "ok", 1, "mupdf", []),
    ("pdfjs__freetext_no_appearance.pdf", "ok", 1, "mupdf", []),
    ("unstructured__pdf2image-memory-error-test-400p.pdf", "ok", 400, "mupdf", [1]),
    ("unstructured__layout-parser-paper-with-empty-pages.pdf", "ok", 4, "mupdf", [1]),
    ("pdfjs__scan-bad.pdf", "ok", 1, "mupdf", []),
    ("pdfplumber__issue-848.pdf", "ok", 8, "mupdf", []),
    ("sample-files__imagemagick-images.pdf", "ok", 6, "mupdf", []),
    ("sample-files__habibi-rotated.pdf", "ok", 4, "mupdf", []),
    ("dotsocr__russian.png", "ok", 1, "pillow", []),
    ("ocrmypdf__baiona_cmyk.jpg", "ok", 1, "pillow", []),
    ("unstructured__layout-parser-paper-combined.tiff", "ok", 2, "pillow", []),
]


@pytest.mark.parametrize(("name", "status", "num_pages", "renderer", "blank"), NASTY, ids=lambda value: str(value))
async def test_nasty_documents(
    sandbox: Sandbox, name: str, status: str, num_pages: int, renderer: str, blank: list[int]
) -> None:
    path = CORPUS / name
    found = await sandbox.probe(path)
    assert (found.status, found.num_pages) == (status, num_pages), found.detail
    pages = await render(sandbox, path, range(min(4, num_pages)), "gundam")
    assert [page.failure for page in pages] == [None] * len(pages)
    assert {page.renderer for page in pages} <= {renderer}
    assert [page.page_index for page in pages if page.facts and page.facts.ink_share == 0.0] == blank


async def test_every_other_document_renders(sandbox: Sandbox) -> None:
    named = {row[0] for row in NASTY}
    others = [
        path for path in CORPUS.glob("*.*") if path.suffix not in (".md", ".jsonl") and path.name not in named
    ]
    assert others
    for path in sorted(others):
        found = await sandbox.probe(path)
        if found.status is DocumentStatus.UNSUPPORTED:
            assert path.suffix == ".heic" and "pillow-heif" in found.detail
            continue
        assert found.status is DocumentStatus.OK, (path.name, found)
        pages = await render(sandbox, path, (0, found.num_pages - 1), "page150")
        assert all(page.failure is None for page in pages), path.name


async def test_an_attachment_is_told_of(sandbox: Sandbox) -> None:
    found = await sandbox.probe(CORPUS / "sample-files__with-attachment.pdf")
    assert found.detail == "1 embedded file is not read (image.png)"


async def test_the_password_opens() -> None:
    with_password = Sandbox(RenderSettings(), (PASSWORD,), num_workers=1)
    path = CORPUS / "pypdf__r6-user-password.pdf"
    found, pages = await with_password.probe(path), await render(with_password, path)
    await with_password.close()
    assert found.status is DocumentStatus.OK
    assert [page.failure for page in pages] == [None]


async def test_a_text_layer_of_private_codes_shows_in_the_facts(sandbox: Sandbox) -> None:
    pages = await render(sandbox, CORPUS / "pdfjs__TAMReview.pdf", range(23), "tiny")
    facts = [page.facts for page in pages if page.facts]
    num_chars = sum(fact.num_chars for fact in facts)
    assert sum(fact.private_use_share * fact.num_chars for fact in facts) > 0.5 * num_chars
