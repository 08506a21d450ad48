"""What is counted of a run, its funnel and its texts, from tables that the real writer wrote."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from quire.records import DocumentStatus
from quire.report.excerpts import beginning, read_excerpts
from quire.report.funnel import funnel
from quire.report.survey import survey
from quire.results.ledger import take_account
from tests.report.runs import BLANK, GIVEN_UP, READ, RETRIED, UNRENDERED, Page, write_run

_SLOW, _UNSURE = Page(("ok",), recognize_s=90.0), Page(("ok",), mean_logprob=-2.5)
_PAGES = [READ, BLANK, RETRIED, UNRENDERED, READ, GIVEN_UP, _SLOW, _UNSURE, READ, READ, READ, READ]
_UNREADABLE = [DocumentStatus.ENCRYPTED, DocumentStatus.CORRUPT, DocumentStatus.ENCRYPTED]


async def test_the_funnel_of_a_finished_run(tmp_path: Path) -> None:
    found = survey(await write_run(tmp_path, _PAGES, _UNREADABLE))
    found.account.insist()
    steps = {f"{step.unit} {step.name}": (step.count, dict(step.changes)) for step in funnel(found)}
    assert steps == {
        "documents listed": (6, {}),
        "documents readable": (3, {"encrypted": -2, "corrupt": -1}),
        "documents not duplicates": (3, {}),
        "pages planned": (12, {}),
        "pages rendered": (11, {"render_timeout": -1}),
        "pages with ink": (10, {"blank": -1}),
        "pages read at the first attempt": (8, {"read at a later attempt": -1, "truncated": -1}),
        "pages read": (9, {"read at a later attempt": 1}),
    }


async def test_each_step_is_the_one_before_and_its_changes_also_of_an_unfinished_run(tmp_path: Path) -> None:
    found = survey(await write_run(tmp_path, _PAGES, _UNREADABLE, num_shards=1))
    assert not found.account.is_complete
    steps = funnel(found)
    for before, step in pairwise(steps):
        if before.unit == step.unit:
            assert step.count == before.count + sum(number for _, number in step.changes)
    assert steps[-1].count == found.account.pages["ocr"] == 5
    assert ("without a row", -4) in next(step.changes for step in steps if step.name == "converted")


async def test_the_books_are_those_that_quire_status_shows(tmp_path: Path) -> None:
    folder = await write_run(tmp_path, _PAGES, _UNREADABLE)
    assert survey(folder).account == take_account(folder)


async def test_attempts_failures_tokens_and_hosts_are_counted(tmp_path: Path) -> None:
    found = survey(await write_run(tmp_path, _PAGES))
    assert found.attempts == {
        (1, "base", "ok"): 8,
        (1, "base", "loop"): 2,
        (2, "gundam@0.2", "ok"): 1,
        (2, "gundam@0.2", "truncated"): 1,
    }
    assert found.failures == {("rasterize", "render_timeout"): 1, ("recognize", "truncated"): 1}
    assert [page.page_index for page in found.examples["recognize", "truncated"]] == [1]
    assert found.num_output_tokens == 10 * 500
    assert found.compression.num_values == 10
    assert {host: totals.num_pages for host, totals in found.hosts.items()} == {"host0": 6, "host1": 6}
    assert sum(found.timeline.rates(["host0"])) == sum(found.timeline.rates(["host1"])) == 6


async def test_the_slowest_and_the_worst_pages(tmp_path: Path) -> None:
    found = survey(await write_run(tmp_path, _PAGES))
    assert found.slowest.pages()[0].seconds == 90.5
    worst = found.worst.pages()
    assert [page.failure_kind for page in worst[:3]] == ["truncated", "render_timeout", ""]
    assert worst[2].attempts == (("base", "loop"), ("gundam@0.2", "ok"))
    assert worst[3].mean_logprob == -2.5


async def test_timings_of_an_earlier_version_or_none_at_all(tmp_path: Path) -> None:
    folder = await write_run(tmp_path, _PAGES)
    first, second = (info.key for info in folder.list("timings/"))
    old = pq.read_table(pa.BufferReader(folder.get(first))).drop_columns(["finished_at"])
    pq.write_table(old, tmp_path / first)
    folder.delete(second)
    found = survey(folder)
    found.account.insist()
    assert found.timeline.num_pages == 0
    assert found.slowest.num_offered == old.num_rows


async def test_a_run_without_a_page(tmp_path: Path) -> None:
    found = survey(await write_run(tmp_path, [], [DocumentStatus.CORRUPT]))
    assert [step.count for step in funnel(found)] == [1, 0, 0, 0, 0, 0, 0, 0]


async def test_excerpts_are_of_the_pages_asked_for(tmp_path: Path) -> None:
    folder = await write_run(tmp_path, _PAGES)
    pages = survey(folder).worst.pages()
    excerpts = read_excerpts(folder, pages)
    assert set(excerpts) == {page.key for page in pages}
    texts = {page.failure_kind: excerpts[page.key] for page in pages}
    assert texts == {
        "truncated": "what the engine said",
        "render_timeout": "",
        "": "# A title\nand its text",
    }


def test_a_long_text_is_cut() -> None:
    assert beginning("  one\n\n\ntwo  ") == "one\ntwo"
    assert beginning("one\ntwo\nthree\nfour\nfive") == "one\ntwo\nthree\nfour …"
    assert len(beginning("word " * 10_000)) <= 242
    assert beginning(" \n ") == ""
