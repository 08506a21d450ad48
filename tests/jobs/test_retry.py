"""`--retry-failed` and `--max-failed-share`: what was written down wrongly is tried again, with books that balance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from quire.api.results import open_run
from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.errors import RunStopped
from quire.jobs.convert import convert_command
from quire.jobs.night_report import NightReport
from quire.jobs.nightly import nightly
from quire.jobs.retry import with_failed
from quire.jobs.status import describe_account
from quire.planning.plan_log import part_keys, read_part
from quire.rasterize.sandbox import Sandbox
from quire.report.funnel import funnel
from quire.report.survey import survey
from quire.results.ledger import Account, take_account
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import Folder, open_folder
from tests import documents
from tests.rasterize.faults import write_faults
from tests.runs import read_table, scripted_settings, write_samples

BROKEN = {"mupdf:1": "error", "pdfium:1": "error"}
DOUBTFUL = {"mupdf:1": "damage", "pdfium:1": "error"}


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Five documents, with a copy of one that the faulty worker does not read."""
    write_samples(tmp_path / "in", 3)
    write_hard(tmp_path, BROKEN)
    (tmp_path / "in/z-copy.pdf").write_bytes((tmp_path / "in/hard.pdf").read_bytes())
    return Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))


def write_hard(tmp_path: Path, faults: dict[str, str]) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in/hard.pdf").write_bytes(documents.pdf(["The first page", "The second page"]))
    write_faults(tmp_path / "in/hard.pdf", faults)


@contextmanager
def faulty_machine() -> Generator[None]:
    """Within it pages fail as the documents say, and not outside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quire.run.convert.Sandbox", partial(Sandbox, target="tests.rasterize.faults:FaultyWorker"))
        yield


def run(inputs: Inputs, settings: Settings) -> Account:
    return asyncio.run(convert(inputs, settings, use_ray=False))


def again(inputs: Inputs, settings: Settings, kind: str = "") -> Account:
    return run(with_failed(inputs, settings, kind), settings)


def out(inputs: Inputs) -> Folder:
    return open_folder(inputs.output, StorageSettings())


def rows(inputs: Inputs, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_table(Path(inputs.output), table).to_pylist()
    return found


def test_what_the_machine_was_at_fault_for_is_read_and_counted_once(inputs: Inputs, tmp_path: Path) -> None:
    settings = scripted_settings(tmp_path)
    with faulty_machine():
        first = run(inputs, settings)
    assert first.failures == {"render_error": 1} and first.has_losses()
    assert run(inputs, settings).failures == {"render_error": 1}, "it is not tried again unasked"
    for _ in range(2):
        account = again(inputs, settings)
        assert account.pages == first.pages - Counter(failed=1) + Counter(ocr=1, replaced=2)
        assert not account.failures and not account.failed and not account.has_losses()
        assert account.documents == first.documents
    steps = {step.name: step.count for step in funnel(survey(out(inputs)))}
    assert steps["read"] == account.pages["ocr"], "the report counts what the books count"
    (retried,) = read_part(out(inputs), part_keys(out(inputs))[-1])
    assert retried.is_again and retried.document.uri.endswith("hard.pdf"), "its copy repeats it still"
    names = [row["name"] for row in rows(inputs, "documents")]
    assert sorted(names) == ["doc00.pdf", "doc01.pdf", "doc02.pdf", "hard.pdf", "z-copy.pdf"]
    assert all(row["num_failed"] in (0, None) for row in rows(inputs, "documents"))
    assert "failed" not in (Path(inputs.output) / "markdown/hard.pdf.md").read_text()
    texts = {(row["doc_id"], row["page_index"]): set[str]() for row in rows(inputs, "pages")}
    for row in rows(inputs, "pages"):
        texts[row["doc_id"], row["page_index"]] |= {row["markdown"]} if row["outcome"] != "failed" else set()
    assert len(texts) == 8 and all(len(found) == 1 for found in texts.values())


def test_a_retry_that_was_stopped_goes_on_without_being_asked_again(inputs: Inputs, tmp_path: Path) -> None:
    settings = scripted_settings(tmp_path)
    with faulty_machine():
        run(inputs, settings)
    asyncio.run(make_plan(with_failed(inputs, settings, ""), settings))
    open_books = take_account(out(inputs))
    assert open_books.pages["replaced"] == 2 and not open_books.is_complete and not open_books.failures
    assert again(inputs, settings).pages["replaced"] == 2
    assert len(part_keys(out(inputs))) == 2


def test_only_what_failed_so_is_tried_again(
    inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = scripted_settings(tmp_path)
    with faulty_machine():
        first = run(inputs, settings)
    assert again(inputs, settings, "render_crash").failures == first.failures
    told = capsys.readouterr().err
    assert "trying again 0 converted documents and 0 unread that failed as render_crash; what failed" in told
    assert "there: render_error" in told
    assert not again(inputs, settings, "render_error").failures
    assert "trying again 1 converted document and 0 unread that failed as render_error" in capsys.readouterr().err
    for source in ("in/", "documents.d"):
        with pytest.raises(click.UsageError, match="after an equals sign"):
            with_failed(inputs, settings, source)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(click.UsageError, match="after an equals sign"):
            with_failed(inputs, settings, "in")


def test_nights_go_along_with_what_is_tried_again(inputs: Inputs, tmp_path: Path) -> None:
    settings = scripted_settings(tmp_path)

    def night(inputs: Inputs) -> NightReport:
        return asyncio.run(nightly(inputs, settings, use_ray=False))

    with faulty_machine():
        assert night(inputs).has_failures()
    assert not night(inputs).is_recorded
    report = night(with_failed(inputs, settings, ""))
    assert [Path(uri).name for uri in report.changes["retried"]] == ["hard.pdf", "z-copy.pdf"]
    assert report.pages == Counter(ocr=2) and not report.has_failures()
    assert not night(inputs).is_recorded
    texts = {Path(row["uri"]).name: row["text"] for row in open_run(inputs.output).live_documents}
    assert len(texts) == 5 and texts["hard.pdf"] == texts["z-copy.pdf"] != ""
    assert {row["outcome"] for row in open_run(inputs.output).live_pages} == {"ocr", "blank"}
    arguments = [*inputs.sources, "--output", inputs.output, "--retry-failed"]
    refused = CliRunner().invoke(convert_command, arguments)
    assert refused.exit_code == 2 and "quire nightly --retry-failed" in refused.output


def test_documents_that_were_not_read_are_looked_at_again(inputs: Inputs, tmp_path: Path) -> None:
    first = run(inputs, scripted_settings(tmp_path, "plan.max_document_pages=2"))
    assert [status for status, _ in first.unread.values()] == ["too_large"]
    settings = scripted_settings(tmp_path)
    assert run(inputs, settings).unread == first.unread
    assert again(inputs, settings, "corrupt").unread == first.unread
    account = again(inputs, settings, "too_large")
    assert not account.unread and account.documents == Counter(ok=4, duplicate=1)
    assert len(rows(inputs, "documents")) == 5 and not account.has_losses()


def test_a_retry_that_cannot_read_any_more_keeps_what_was_read(inputs: Inputs, tmp_path: Path) -> None:
    settings = scripted_settings(tmp_path)
    with faulty_machine():
        first = run(inputs, settings)
    account = again(inputs, scripted_settings(tmp_path, "plan.max_document_pages=1"))
    assert (account.pages, account.documents) == (first.pages, first.documents)
    assert len(part_keys(out(inputs))) == 1 and len(rows(inputs, "documents")) == 5
    (tmp_path / "in/hard.pdf").unlink()
    account = again(inputs, settings)
    assert not account.failures and account.documents == Counter(ok=4), "its copy is read in its place"
    assert sum(row["status"] == "ok" for row in rows(inputs, "documents")) == 4


def test_the_text_of_a_newer_version_stays_beside_what_is_tried_again(inputs: Inputs, tmp_path: Path) -> None:
    """Both were in one shard."""
    settings = scripted_settings(tmp_path)
    with faulty_machine():
        run(inputs, settings)
    (tmp_path / "in/doc00.pdf").write_bytes(documents.pdf(["Of a second edition"]))
    run(inputs, settings)
    markdown = Path(inputs.output) / "markdown/doc00.pdf.md"
    newer = markdown.read_text()
    account = again(inputs, settings)
    assert not account.failures and markdown.read_text() == newer
    assert sorted(row["name"] for row in rows(inputs, "documents")).count("doc00.pdf") == 2, "its two versions"


def test_what_was_never_there_is_not_planned_again(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 2)
    (tmp_path / "in/loop.pdf").symlink_to("loop.pdf")
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    settings = scripted_settings(tmp_path)
    assert asyncio.run(make_plan(inputs, settings)).num_again == 0
    run(inputs, settings)
    assert again(inputs, settings).documents == Counter(ok=2, unreadable=1)
    assert asyncio.run(make_plan(inputs, settings)).num_again == 0


def test_a_night_notices_what_a_stopped_one_had_read(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 4)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    short = scripted_settings(tmp_path, "plan.max_document_pages=4")
    assert asyncio.run(nightly(inputs, short, use_ray=False)).num_unread == 1
    settings = scripted_settings(tmp_path)
    run(with_failed(inputs, settings, "too_large"), settings)  # as a night that is stopped before it is recorded
    report = asyncio.run(nightly(inputs, settings, use_ray=False))
    assert [Path(uri).name for uri in report.changes["opened"]] == ["doc03.pdf"] and not report.has_failures()


def test_doubtful_pages_are_tried_again_where_they_are_named(tmp_path: Path) -> None:
    write_hard(tmp_path, DOUBTFUL)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    settings = scripted_settings(tmp_path)
    with faulty_machine():
        first = run(inputs, settings)
    assert first.marks == {"damaged": 1} and first.has_losses()
    assert again(inputs, settings).marks == first.marks
    account = again(inputs, settings, "damaged")
    assert account.pages == Counter(ocr=2, replaced=2) and not account.has_losses()


@pytest.mark.parametrize(
    ("num_failed", "num_unread", "tolerated", "has_losses"),
    [
        (0, 0, None, False),
        (1, 0, None, True),
        (0, 1, None, True),
        (0, 0, 0.0, False),
        (1, 0, 0.0, True),
        (10, 0, 0.1, False),
        (11, 0, 0.1, True),
        (0, 1, 0.1, False),
        (0, 2, 0.1, True),
    ],
)
def test_a_share_that_is_tolerated_is_no_failure(
    num_failed: int, num_unread: int, tolerated: float | None, has_losses: bool
) -> None:
    account = Account(
        documents=Counter(ok=10 - num_unread, corrupt=num_unread),
        pages=Counter(ocr=100 - num_failed, failed=num_failed, replaced=50),
        unread={str(number): ("corrupt", "") for number in range(num_unread)},
    )
    assert account.has_losses(tolerated) == has_losses
    night = NightReport(
        *("", 1, True, 0.0, Counter[str](), {}, {}, Counter(ocr=100 - num_failed, failed=num_failed), Counter()),
        num_tokens=0,
        num_doubtful=0,
        num_new=10,
        num_unread=num_unread,
        worst=[("a", "")] * bool(num_failed or num_unread),
    )
    assert night.has_failures(tolerated) == has_losses


def test_a_run_that_fails_too_often_begins_no_more_and_can_be_mended(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 8)
    every = {f"{renderer}:{page}": "error" for renderer in ("mupdf", "pdfium") for page in range(19)}
    for document in (tmp_path / "in").iterdir():
        write_faults(document, every)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    settings = scripted_settings(
        tmp_path, "flow.max_failed_share=0.5", "flow.open_shards=1", "plan.pages_per_shard=2"
    )
    with faulty_machine(), pytest.raises(RunStopped, match=r"failed in this run: 100.0%, where 50.0% are allowed"):
        run(inputs, settings)
    stopped = take_account(out(inputs))
    assert stopped.pages["failed"] == stopped.pages.total() < stopped.num_pages and not stopped.problems
    account = again(inputs, settings)
    assert account.is_complete and not account.has_losses(), describe_account(account)
