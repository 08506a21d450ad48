"""The real documents beside the checkout, nasty ones included: every page has one row, nothing takes too long.

Rendered for real, recognised by the scripted engine. `quire convert ../shared/corpus --output out/corpus` reads
all of it with the CPU engine; CI reads a chosen few pages of it.
"""

import asyncio
import contextlib
import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.bench.text_errors import character_error
from jobs.convert import convert
from jobs.plan import Inputs
from jobs.status import EXIT_FAILED_PAGES
from pipeline.config import RenderSettings
from pipeline.settings_file import load_settings
from tests.runs import command, documents_by_name, read_table, set_options

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CORPUS.is_dir(), reason="there is no corpus beside this checkout (../shared/corpus)"),
]

STATUS = {  # of those that are not simply ok
    "ocrmypdf__invalid.pdf": {"corrupt", "truncated"},
    "pdfplumber__empty.pdf": {"empty"},
    "pypdf__r6-user-password.pdf": {"encrypted"},
    "pdfjs__poppler-67295-0.pdf": {"corrupt", "truncated", "ok", "empty"},
    "pdfjs__scan-bad.pdf": {"truncated"},
}
MAX_RSS_BYTES = 1536 << 20

READ_IN_CI = {  # 30 pages for the CPU engine: number of pages by file
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
UNSUPPORTED = {name for name in READ_IN_CI if any(word in name for word in ("korean", "arabic", "eslav", "deva"))}


def files_of(corpus: Path) -> list[str]:
    return [json.loads(line)["file"] for line in (corpus / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run over the corpus, with the peak memory of every process that it started."""
    tmp_path = tmp_path_factory.mktemp("corpus")
    manifest = tmp_path / "manifest.txt"
    manifest.write_text("\n".join(str(CORPUS / name) for name in files_of(CORPUS)))
    options = (
        "engine.name=scripted",
        "scripted.window=8",
        "plan.pages_per_shard=64",
        "plan.documents_per_part=100",
    )
    options += (f"flow.cache_dir={tmp_path / 'cache'}",)
    arguments = ["convert", "--manifest", str(manifest), "--output", str(tmp_path / "out"), *set_options(options)]
    peaks: dict[int, int] = {}
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command(*arguments), stderr=log) as started:
        process = psutil.Process(started.pid)
        while started.poll() is None:
            for each in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    peaks[each.pid] = max(peaks.get(each.pid, 0), each.memory_info().rss)
            time.sleep(0.05)
    assert started.returncode == EXIT_FAILED_PAGES, (tmp_path / "log").read_text()
    return {
        "peaks": peaks,
        "documents": {
            Path(r["source_uri"]).name: r for r in read_table(tmp_path / "out", "documents").to_pylist()
        },
        "pages": read_table(tmp_path / "out", "pages").to_pylist(),
        "timings": read_table(tmp_path / "out", "timings").to_pylist(),
        "page_timeout_s": RenderSettings().page_timeout_s,
    }


def test_every_document_ends_as_it_deserves(run: dict[str, Any]) -> None:
    assert set(run["documents"]) == set(files_of(CORPUS))
    for name, row in run["documents"].items():
        assert row["status"] in STATUS.get(name, {"ok", "duplicate"}), (name, row["status"], row["detail"])


def test_every_page_has_exactly_one_row(run: dict[str, Any]) -> None:
    rows = Counter((Path(page["source_uri"]).name, page["page_index"]) for page in run["pages"])
    expected = Counter((n, i) for n, row in run["documents"].items() for i in range(row["num_pages"]))
    duplicates = {name for name, row in run["documents"].items() if row["status"] == "duplicate"}
    assert rows == Counter({key: number for key, number in expected.items() if key[0] not in duplicates})
    stated = {}
    for line in (CORPUS / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["pages"] and entry["file"] not in ("pdfjs__issue9418.pdf",):
            stated[entry["file"]] = entry["pages"]
    for name, pages in stated.items():
        if run["documents"][name]["status"] != "encrypted":
            assert run["documents"][name]["num_pages"] == pages, name


def test_nearly_all_pages_are_read_and_failures_say_why(run: dict[str, Any]) -> None:
    failed = [page for page in run["pages"] if page["outcome"] == "failed"]
    assert len(failed) <= 5, [(page["source_uri"], page["failure"]) for page in failed]
    assert all(page["failure"]["message"] for page in failed)


def test_nothing_takes_longer_than_its_limit(run: dict[str, Any]) -> None:
    # A page may be tried by both renderers, each up to its limit.
    assert max(row["render_s"] for row in run["timings"]) <= 2 * run["page_timeout_s"] + 1


def test_no_process_needs_more_than_one_and_a_half_gigabytes(run: dict[str, Any]) -> None:
    assert max(run["peaks"].values()) < MAX_RSS_BYTES


@pytest.mark.timeout(1200)  # four minutes of two cores that have nothing else to do
def test_the_cpu_engine_reads_thirty_pages(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.txt"
    manifest.write_text("\n".join(str(CORPUS / name) for name in READ_IN_CI))
    inputs = Inputs((), (str(manifest),), str(tmp_path / "out"))
    settings = load_settings(None, [f"flow.cache_dir={tmp_path / 'cache'}"])
    account = asyncio.run(convert(inputs, settings, use_ray=False))
    pages = read_table(tmp_path / "out", "pages").to_pylist()
    assert Counter(Path(page["source_uri"]).name for page in pages) == READ_IN_CI
    assert account.pages.total() == sum(READ_IN_CI.values()) == 30
    failed = {Path(page["source_uri"]).name: page["failure"]["kind"] for page in pages if page["failure"]}
    assert failed == dict.fromkeys(UNSUPPORTED, "unsupported_script")
    documents = documents_by_name(tmp_path / "out")
    truths = {"pypdf__crazyones.pdf": "pypdf__crazyones.txt", "ocrmypdf__linn.png": "ocrmypdf__linn.txt"}
    for name, truth in truths.items():
        assert character_error(documents[name]["text"], (CORPUS / "gt" / truth).read_text()) < 0.05, name
