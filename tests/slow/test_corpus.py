"""The real documents beside the checkout, nasty ones included: every page has one row, nothing takes too long.

Rendered for real, recognised by the scripted engine. `quire convert ../shared/corpus --output out/corpus` reads
all of it with the CPU engine; the tests read a few pages with it, and `make soak` a sample of `READ_WHOLE`.
"""

import contextlib
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.exit_codes import EXIT_FAILED_PAGES
from pipeline.config import RenderSettings
from tests.corpus import CORPUS, read_and_check
from tests.runs import command, read_table, set_options

pytestmark = [
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

READ_IN_CI = (  # one page each
    "pypdf__crazyones.pdf",  # its text is known
    "ocrmypdf__rotated_skew.pdf",
    "unstructured__double-column-A.jpg",
    "unstructured__table-multi-row-column-cells.pdf",
    "rapidocr__img_exif_orientation.jpg",  # a photograph
    "rapidocr__arabic.png",  # a script that the engine does not know
)


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
        while _runs_on(started):
            for each in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    peaks[each.pid] = max(peaks.get(each.pid, 0), each.memory_info().rss)
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


def _runs_on(started: subprocess.Popen[bytes]) -> bool:
    """Whether it still runs at the time of the next sample."""
    try:
        started.wait(timeout=0.05)
    except subprocess.TimeoutExpired:
        return True
    return False


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


def test_the_cpu_engine_reads_pages_of_each_kind(tmp_path: Path) -> None:
    read_and_check(READ_IN_CI, tmp_path)
