"""The real documents beside the checkout: which of them the CPU engine reads whole, and what must come of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from quire.config.sections import RenderSettings
from quire.config.settings_file import load_settings
from quire.jobs.bench.text_errors import character_error
from quire.rasterize.sandbox import Sandbox
from quire.records import PageRange
from quire.run.convert import convert
from quire.run.inputs import Inputs
from tests.runs import documents_by_name, read_table

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"

READ_WHOLE = {  # 30 pages: their number by file
    "pypdf__crazyones.pdf": 1,
    "ocrmypdf__linn.png": 1,
    "ocrmypdf__jbig2.pdf": 1,
    "ocrmypdf__rotated_skew.pdf": 1,
    "unstructured__multi-column-2p.pdf": 2,
    "unstructured__a1977-backus-p21.pdf": 1,
    "unstructured__double-column-A.jpg": 1,
    "unstructured__pdf-with-ocr-text.pdf": 1,
    "unstructured__table-multi-row-column-cells.pdf": 1,
    "markitdown__SPARSE-2024-INV-1234_borderless_table.pdf": 2,
    "markitdown__REPAIR-2022-INV-001_multipage.pdf": 3,
    "markitdown__MEDRPT-2024-PAT-3847_medical_report_scan.pdf": 3,
    "pdfplumber__nics-background-checks-2015-11.pdf": 1,
    "pdfplumber__senate-expenditures.pdf": 1,
    "pdfjs__bug1937438_mml_from_latex.pdf": 1,
    "pdfjs__prefilled_f1040.pdf": 2,
    "pypdf__SF424_page2.pdf": 1,
    "sample-files__with-attachment.pdf": 1,
    "rapidocr__img_exif_orientation.jpg": 1,
    "unstructured__korean-text-with-tables.pdf": 1,
    "rapidocr__arabic.png": 1,
    "rapidocr__eslav.jpg": 1,
    "rapidocr__devanagari.jpg": 1,
}
_UNSUPPORTED = {name for name in READ_WHOLE if any(word in name for word in ("korean", "arabic", "eslav", "deva"))}
_TRUTHS = {"pypdf__crazyones.pdf": "pypdf__crazyones.txt", "ocrmypdf__linn.png": "ocrmypdf__linn.txt"}
_MAX_CHARACTER_ERROR = 0.05


def read_and_check(names: Sequence[str], directory: Path) -> None:
    """Read these of `READ_WHOLE` with the CPU engine, in an empty directory: every page has its row, no page fails but
    those in scripts that the engine does not know, and where the truth is known, that is what was read. Raises
    AssertionError."""
    manifest = directory / "manifest.txt"
    manifest.write_text("\n".join(str(CORPUS / name) for name in names))
    settings = load_settings(None, [f"flow.cache_dir={directory / 'cache'}"])
    account = asyncio.run(convert(Inputs((), (str(manifest),), str(directory / "out")), settings, use_ray=False))
    pages = read_table(directory / "out", "pages").to_pylist()
    expected = {name: READ_WHOLE[name] for name in names}
    assert Counter(Path(page["source_uri"]).name for page in pages) == expected
    assert account.pages.total() == sum(expected.values())
    failed = {Path(page["source_uri"]).name: page["failure"]["kind"] for page in pages if page["failure"]}
    assert failed == dict.fromkeys(_UNSUPPORTED & expected.keys(), "unsupported_script")
    documents = documents_by_name(directory / "out")
    for name in _TRUTHS.keys() & expected.keys():
        truth = (CORPUS / "gt" / _TRUTHS[name]).read_text()
        assert character_error(documents[name]["text"], truth) < _MAX_CHARACTER_ERROR, name


def render_first_pages() -> None:
    """Probe every document of the corpus and render its first page, all in one process; prints how many there are."""
    paths = [path for path in sorted(CORPUS.glob("*.*")) if path.suffix not in (".md", ".jsonl")]
    asyncio.run(_render_first_pages(paths))


async def _render_first_pages(paths: Sequence[Path]) -> None:
    async with Sandbox(RenderSettings(), num_workers=1) as sandbox:
        for path in paths:
            found = await sandbox.probe(path)
            source = PageRange(str(path), "", 1, "", found.media_type, found.num_pages, 0, found.num_pages)
            async for _ in sandbox.rasterize(path, source, range(min(1, found.num_pages)), "tiny"):
                pass
    print(len(paths))
