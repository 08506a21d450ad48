"""The page's words, numbers and links, and what hostile ones come to. How it looks is for `test_in_chromium.py`."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quire.records import DocumentStatus, Outcome, PageRange
from quire.report import figures
from quire.report.histograms import Histogram, Timeline
from quire.report.notable import NotablePage
from quire.report.page import Report, count, link, seconds, share, to_html
from quire.report.survey import survey
from quire.results.run_folder import read
from quire.storage import Folder
from tests.report.runs import BLANK, GIVEN_UP, READ, RETRIED, Page, write_run

_NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
_HOSTILE = """</script><img src=x onerror="alert(1)">'&$\\frac{"""


def _html(folder: Folder) -> str:
    return to_html(Report(folder.uri, _NOW, survey(folder), read(folder), {}, {}))


async def test_a_finished_run_says_so(tmp_path: Path) -> None:
    html = _html(await write_run(tmp_path, [READ, BLANK, RETRIED, GIVEN_UP]))
    assert "<b>Finished.</b> Each of the 4 planned pages" in html
    assert "4 planned = 2 read + 1 blank + 1 failed" in html
    assert "2026-05-04 03:02:01 UTC" in html


async def test_an_unfinished_run_says_so_on_top(tmp_path: Path) -> None:
    html = _html(await write_run(tmp_path, [READ] * 24, num_shards=1))
    assert "<b>Not finished.</b> 1 of 3 shards are written" in html
    assert "24 planned = 8 read + 0 blank + 0 failed + 16 without a row" in html


async def test_sums_that_do_not_agree_are_the_first_thing_said(tmp_path: Path) -> None:
    folder = await write_run(tmp_path, [READ] * 8)
    [pages] = (info.key for info in folder.list("pages/"))
    folder.put("pages/shard=00000000000000000000.parquet", folder.get(pages))
    assert re.search(r"<b>The sums do not agree.</b>.*1 page file of no planned shard", _html(folder))


async def test_documents_with_files_inside_are_counted(tmp_path: Path) -> None:
    folder = await write_run(tmp_path, [READ])
    found = survey(folder)
    words = "documents have files inside, which are not read"
    assert words not in to_html(Report(folder.uri, _NOW, found, read(folder), {}, {}))
    found.account.num_with_embedded_files = 2
    assert f"2 {words}" in to_html(Report(folder.uri, _NOW, found, read(folder), {}, {}))


@pytest.mark.parametrize(
    ("unreadable", "words"),
    [([], "No document is planned yet."), ([DocumentStatus.CORRUPT], "No planned document has a page.")],
)
async def test_runs_without_pages(unreadable: list[DocumentStatus], words: str, tmp_path: Path) -> None:
    assert words in _html(await write_run(tmp_path, [], unreadable))


async def test_an_engine_that_counts_nothing_gets_words_instead_of_empty_drawings(tmp_path: Path) -> None:
    html = _html(await write_run(tmp_path, [Page(("ok",), mean_logprob=None, num_output_tokens=0)] * 4))
    assert "the engine counts none" in html
    assert "The engine counts no output tokens." in html
    assert "The engine gives no probabilities." in html
    assert "No page failed." in html


async def test_no_id_stands_twice_and_every_anchor_leads_somewhere(tmp_path: Path) -> None:
    html = _html(await write_run(tmp_path, [READ, BLANK, RETRIED, GIVEN_UP] * 4))
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([a-z][^"]*)"', html)) <= set(ids)


def test_a_name_in_a_drawing_is_text() -> None:
    drawing = str(figures.bars({_HOSTILE: 3, "$x^": 1}, _HOSTILE))
    assert "<img" not in drawing and "onerror=" not in re.sub(r"&\w+;|&#\d+;", "", drawing.partition(">")[2])
    assert "&lt;/script&gt;&lt;img" in drawing
    timeline = Timeline()
    for host in (_HOSTILE, "日本"):
        timeline.add(_NOW, host)
    assert "&lt;/script&gt;" in figures.throughput(timeline)


def test_drawings_take_their_colours_from_the_page() -> None:
    values = Histogram([1, 2, 4])
    values.add(3)
    drawing = str(figures.histogram(values, "things", "Things", is_logarithmic=True))
    assert "var(--good)" in drawing
    assert not re.findall(r"#[01][0-9]{5}\b", drawing)
    assert "<script" not in drawing


def test_a_timeline_of_years_can_be_drawn() -> None:
    timeline = Timeline()
    for days in range(0, 3000, 10):
        timeline.add(_NOW + timedelta(days=days), "host")
    assert "2030" in figures.throughput(timeline)


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("s3://bucket/a.pdf", ""),
        ("/a folder/ü\"<'.pdf", "file:///a%20folder/%C3%BC%22%3C%27.pdf#page=3"),
        ("file:///%FF.pdf", "file:///%FF.pdf#page=3"),
        ("javascript://%0aalert(1)", ""),
    ],
)
def test_only_local_documents_are_linked(uri: str, wanted: str) -> None:
    source = PageRange(uri, "", 1, "0" * 64, "application/pdf", 9, 0, 9)
    assert link(NotablePage(source, "shard", 2, Outcome.OCR)) == wanted


async def test_secrets_that_an_earlier_version_left_in_the_folder_are_not_shown(tmp_path: Path) -> None:
    folder = await write_run(tmp_path, [READ] * 4)
    described = json.loads(folder.get("quire.json"))
    described["settings"]["vllm.extra"] = {"hf_token": "hunter2", "a": [{"api_key": "hunter2"}], "seed": 4711}
    folder.put("quire.json", json.dumps(described).encode())
    html = _html(folder)
    assert "hunter2" not in html and "4711" in html


async def test_versions_of_several_runs_are_shown_in_their_order(tmp_path: Path) -> None:
    folder = await write_run(tmp_path, [READ] * 4)
    described = json.loads(folder.get("quire.json"))
    described["later_versions"] = [{**described["versions"], "quire": "99.1", "numpy": "99.2"}]
    folder.put("quire.json", json.dumps(described).encode())
    html = _html(folder)
    for before, now in ((described["quire_version"], "99.1"), (described["versions"]["numpy"], "99.2")):
        assert f"{before} → {now}" in html


def test_numbers_are_written_for_people() -> None:
    assert [count(0), count(1234567)] == ["0", "1,234,567"]
    assert [seconds(s) for s in (0.0123, 1, 59.96, 600, 90_000)] == [
        "12 ms",
        "1 s",
        "60 s",
        "10 min",
        "25 h 00 min",
    ]
    assert [share(1, 3), share(99_999, 100_000), share(1, 10**6), share(2, 2), share(0, 0)] == [
        *("33.3 %", "99.9 %", "0.1 %", "100 %", "–"),
    ]
