"""The real documents beside the checkout, nasty ones included: every page has one row and is read.

Rendered for real, recognised by the scripted engine. `quire convert ../shared/corpus --output out/corpus` reads
all of it with the CPU engine; the tests read a few pages with it, and `make soak` a sample of `READ_WHOLE`.
"""

import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from quire.jobs.exit_codes import EXIT_FAILED_PAGES
from tests.corpus import CORPUS, read_and_check
from tests.runs import command, documents_by_name, read_table, set_options

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CORPUS.is_dir(), reason="there is no corpus beside this checkout (../shared/corpus)"),
]

STATUS = {  # of those that are not simply ok
    "ocrmypdf__invalid.pdf": {"corrupt", "truncated"},
    "pdfplumber__empty.pdf": {"empty"},
    "pypdf__r6-user-password.pdf": {"encrypted"},
    "pdfjs__poppler-67295-0.pdf": {"corrupt", "truncated", "ok", "empty"},
}
MAX_RSS_BYTES = 1536 << 20
LONG = "unstructured__pdf2image-memory-error-test-400p.pdf"  # three quarters of the corpus's pages

READ_IN_CI = (  # one page each
    "pypdf__crazyones.pdf",  # its text is known
    "ocrmypdf__rotated_skew.pdf",  # a scan, full of text
    "rapidocr__img_exif_orientation.jpg",  # a photograph
    "rapidocr__arabic.png",  # a script that the engine does not know
)


@dataclass(frozen=True, slots=True)
class Run:
    """Rows by document and by page, and the peak memory of every process that the run started."""

    documents: dict[str, dict[str, Any]]
    pages: list[dict[str, Any]]
    peak_bytes: dict[int, int]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run over the corpus but for its longest document."""
    return convert_corpus(short_names(), tmp_path_factory.mktemp("corpus"), EXIT_FAILED_PAGES)


def entries() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CORPUS / "manifest.jsonl").read_text().splitlines()]


def short_names() -> list[str]:
    return [entry["file"] for entry in entries() if entry["file"] != LONG]


def convert_corpus(names: Sequence[str], directory: Path, exit_code: int) -> Run:
    """Convert these with the scripted engine, within the limits that everybody gets."""
    manifest = directory / "manifest.txt"
    manifest.write_text("\n".join(str(CORPUS / name) for name in names))
    options = (
        "engine.name=scripted",
        "scripted.window=8",
        "plan.pages_per_shard=64",
        "plan.documents_per_part=100",
        f"flow.cache_dir={directory / 'cache'}",
    )
    arguments = ["convert", "--manifest", str(manifest), "--output", str(directory / "out"), *set_options(options)]
    peaks: dict[int, int] = {}
    with (directory / "log").open("wb") as log, subprocess.Popen(command(*arguments), stderr=log) as started:
        process = psutil.Process(started.pid)
        while _runs_on(started):
            for each in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    peaks[each.pid] = max(peaks.get(each.pid, 0), each.memory_info().rss)
    assert started.returncode == exit_code, (directory / "log").read_text()
    return Run(documents_by_name(directory / "out"), read_table(directory / "out", "pages").to_pylist(), peaks)


def _runs_on(started: subprocess.Popen[bytes]) -> bool:
    """Whether it still runs at the time of the next sample."""
    try:
        started.wait(timeout=0.05)
    except subprocess.TimeoutExpired:
        return True
    return False


def test_every_document_ends_as_it_deserves(run: Run) -> None:
    assert set(run.documents) == set(short_names())
    for name, row in run.documents.items():
        assert row["status"] in STATUS.get(name, {"ok", "duplicate"}), (name, row["status"], row["detail"])


def test_every_page_has_exactly_one_row(run: Run) -> None:
    rows = Counter((Path(page["source_uri"]).name, page["page_index"]) for page in run.pages)
    expected = Counter((name, i) for name, row in run.documents.items() for i in range(row["num_pages"]))
    duplicates = {name for name, row in run.documents.items() if row["status"] == "duplicate"}
    assert rows == Counter({key: number for key, number in expected.items() if key[0] not in duplicates})
    stated = {entry["file"]: entry["pages"] for entry in entries() if entry["pages"]}
    for name in stated.keys() - {"pdfjs__issue9418.pdf", LONG}:
        if run.documents[name]["status"] != "encrypted":
            assert run.documents[name]["num_pages"] == stated[name], name


def test_every_page_is_read(run: Run) -> None:
    failed = [page for page in run.pages if page["outcome"] == "failed"]
    assert not failed, [(page["source_uri"], page["failure"]) for page in failed]


def test_no_process_needs_more_than_one_and_a_half_gigabytes(run: Run) -> None:
    assert max(run.peak_bytes.values()) < MAX_RSS_BYTES


@pytest.mark.soak
def test_four_hundred_pages_need_no_more_memory(tmp_path: Path) -> None:
    run = convert_corpus([LONG], tmp_path, EXIT_FAILED_PAGES)  # made-up words are few for some of its pages
    assert sorted(page["page_index"] for page in run.pages) == list(range(400))
    assert not [page["failure"] for page in run.pages if page["failure"]]
    assert max(run.peak_bytes.values()) < MAX_RSS_BYTES


def test_the_cpu_engine_reads_pages_of_each_kind(tmp_path: Path) -> None:
    read_and_check(READ_IN_CI, tmp_path)
