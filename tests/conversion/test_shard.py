"""Shards end to end in this process: real rendering, the scripted engine, every outcome, every sum."""

import asyncio
import hashlib
import json
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.conversion.admission import Admission
from quire.conversion.shard import Converter, check_complete, convert_shard
from quire.engines.scripted_engine import journal_counts
from quire.errors import AccountingError, NotFound, SettingsChanged
from quire.flows.local import convert_locally
from quire.planning.plan_log import part_keys, planned_shards, read_part
from quire.rasterize.held_image import HeldImage, Hold, Rasterized
from quire.records import (
    DocumentRef,
    ImageInfo,
    Outcome,
    PageFacts,
    PageRange,
    PageResult,
    RasterizedPage,
    Recognition,
    Request,
    Shard,
)
from quire.results.assemble import page_text
from quire.results.ledger import take_account
from quire.results.run_folder import claim
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import open_folder
from tests import documents, runs
from tests.runs import (
    Collector,
    all_pages,
    page_keys,
    peak_in_flight,
    read_table,
    scripted_settings,
    write_samples,
)
from tests.waiting import wait_in_loop


def doc_id(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def converted(tmp_path: Path, settings: Settings) -> list[PageResult]:
    """Plan and convert `tmp_path/in` without writing pages."""
    output = str(tmp_path / "out")
    await make_plan(Inputs((str(tmp_path / "in"),), (), output), settings)
    shards = planned_shards(open_folder(output, StorageSettings()))
    collector = Collector()
    await convert_locally(shards, settings, collector.write, lambda page: None)
    return sorted(collector.pages, key=lambda page: (page.doc_id, page.page_index))


async def test_a_whole_run(tmp_path: Path) -> None:
    pages = write_samples(tmp_path / "in", 6)
    settings = scripted_settings(tmp_path)
    account = await convert(Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out")), settings, use_ray=False)
    num_blank = sum(number > 2 for number in pages.values())
    assert account.pages == Counter(ocr=sum(pages.values()) - num_blank, blank=num_blank)
    table = read_table(tmp_path / "out", "pages")
    assert page_keys(table) == all_pages(pages)

    by_document = {row["source_uri"]: row for row in read_table(tmp_path / "out", "documents").to_pylist()}
    assert len(by_document) == len(pages)
    for row in table.to_pylist():
        document = by_document[row["source_uri"]]
        assert page_text(document["text"], document["page_ends"], row["page_index"], "\n\n") == row["markdown"]
        assert (row["outcome"] == "blank") == (row["page_index"] == 2)
        assert row["failure"] is None
        assert row["width_px"] in (1239, 1240)
    long = (tmp_path / "out/markdown/doc03.pdf.md").read_text()
    assert [long.index(f"# Page {number} of") for number in (1, 2, 4, 19)] == sorted(
        long.index(f"# Page {number} of") for number in (1, 2, 4, 19)
    )


async def test_a_second_run_does_nothing_and_a_new_document_is_all_it_takes(tmp_path: Path) -> None:
    pages = write_samples(tmp_path / "in", 6)
    settings = scripted_settings(tmp_path)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    await convert(inputs, settings, use_ray=False)
    before = runs.results(open_folder(inputs.output, StorageSettings()))
    (tmp_path / "journal").unlink()
    await convert(inputs, settings, use_ray=False)
    assert not (tmp_path / "journal").exists(), "no engine was asked"
    assert runs.results(open_folder(inputs.output, StorageSettings())) == before

    new = documents.pdf(["a new one", "with two pages"])
    (tmp_path / "in/new.pdf").write_bytes(new)
    await convert(inputs, settings, use_ray=False)
    assert set(journal_counts(tmp_path / "journal")) == {(doc_id(new), i, "page150") for i in range(2)}
    assert page_keys(read_table(tmp_path / "out", "pages")) == all_pages({**pages, "new.pdf": 2})


async def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 1)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    await convert(inputs, scripted_settings(tmp_path), use_ray=False)
    with pytest.raises(
        SettingsChanged, match="render.renderer: was 'mupdf', now 'pdfium'\nWrite to another --output"
    ):
        await convert(inputs, scripted_settings(tmp_path, "render.renderer=pdfium"), use_ray=False)
    described = json.loads((tmp_path / "out/quire.json").read_text())
    assert described["settings"]["render.renderer"] == "mupdf"


async def test_a_command_with_a_mistake_locks_no_folder(tmp_path: Path) -> None:
    """Of which nothing follows yet; and who changes his mind after planning is told so."""
    write_samples(tmp_path / "in", 1)
    first, other = scripted_settings(tmp_path), scripted_settings(tmp_path, "engine.name=tesseract")
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    with pytest.raises(NotFound):
        await make_plan(replace(inputs, sources=(str(tmp_path / "on"),)), other)
    await make_plan(inputs, first)
    with pytest.raises(SettingsChanged) as refused:
        await make_plan(inputs, other)
    lines = str(refused.value).splitlines()
    assert lines == [
        f"{tmp_path}/out is planned with other settings:",
        "  engine.name: was 'scripted', now 'tesseract'",
        "Nothing is converted there yet: delete it, or write to another --output.",
    ]


async def test_two_runs_with_other_settings_do_not_share_a_plan(tmp_path: Path) -> None:
    """The second one has looked at the folder when the first one makes it its own."""
    write_samples(tmp_path / "in", 2)
    out = open_folder(str(tmp_path / "out"), StorageSettings())
    other = scripted_settings(tmp_path, "render.renderer=pdfium")

    class Sources(Inputs):
        def refs(self, settings: Settings) -> Iterator[DocumentRef]:
            claim(out, other)
            return super().refs(settings)

    with pytest.raises(SettingsChanged, match="render.renderer"):
        await make_plan(Sources((str(tmp_path / "in"),), (), out.uri), scripted_settings(tmp_path))
    assert part_keys(out) == []


async def test_the_ladder_and_every_way_to_fail(tmp_path: Path) -> None:
    data = documents.pdf([f"page {i}" for i in range(9)])
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(data)
    behaviours = [
        "read",
        "loop",
        "truncate",
        "always_loop",
        "always_truncate",
        "reject",
        "crash",
        "crash_once",
        "stall",
    ]
    settings = scripted_settings(
        tmp_path,
        'engine.modes=["tiny", "base"]',
        "engine.stuck_after_s=1",
        pages={f"{doc_id(data)[:9]}:{i}": behaviour for i, behaviour in enumerate(behaviours)},
    )
    pages = await converted(tmp_path, settings)
    assert [page.page_index for page in pages] == list(range(9))
    assert [page.outcome for page in pages] == [Outcome.OCR] * 3 + [Outcome.FAILED] * 4 + [
        Outcome.OCR,
        Outcome.FAILED,
    ]
    kinds = [page.failure.kind if page.failure else "" for page in pages]
    assert kinds == [
        "",
        "",
        "",
        "repetition",
        "truncated",
        "scripted_reject",
        "engine_crash",
        "",
        "engine_timeout",
    ]
    assert [[a.mode for a in page.attempts] for page in pages[:4]] == [["tiny"]] + [["tiny", "base"]] * 3
    assert [a.outcome for a in pages[1].attempts] == ["loop", "ok"]
    assert pages[1].image is not None and pages[1].image.num_image_tokens == 273
    assert "again and again" in pages[3].raw_text and pages[3].markdown == ""


async def test_bytes_bound_the_pixels_and_not_the_pages_that_engines_have_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(documents.pdf([f"page {i}" for i in range(16)]))
    trace, room_for_two = tmp_path / "trace", "flow.megabytes_in_flight=14"
    settings = scripted_settings(tmp_path, room_for_two, trace=trace, seconds_per_page=4.0, window=16)
    assert len(await converted(tmp_path, settings)) == 16
    assert peak_in_flight(trace) > 4


class Watched:
    """Pixels that can be watched going away."""


class OneAfterTheOther:
    """A rasterizer that draws a page when the one before is read, and sees then what is still in memory."""

    def __init__(self) -> None:
        self.drawn: list[weakref.ref[Watched]] = []
        self.num_read = 0
        self.num_alive: list[int] = []

    async def rasterize(
        self, source: PageRange, page_indices: Sequence[int], mode: str, hold: Hold[Watched]
    ) -> AsyncIterator[Rasterized[Watched]]:
        info = ImageInfo(mode, 9, 9, 1, 72.0, "", 5)
        for page_index in page_indices:
            await wait_in_loop("the page before to be read", lambda: self.num_read == len(self.drawn))
            self.num_alive.append(sum(each() is not None for each in self.drawn))
            image = hold(page_index, info, Watched())
            self.drawn.append(weakref.ref(await image.get()))
            yield RasterizedPage(page_index, "", 0.1, PageFacts(595, 842, 0.1), info), image

    def see(self, page: PageResult) -> None:
        self.num_read += 1


class Reader:
    """An engine that never lets go of what it reads."""

    window = 64

    async def recognize(self, page: HeldImage[Watched], request: Request) -> Recognition:
        await page.get()
        return Recognition("read")


async def test_pixels_are_gone_when_their_page_is_read_though_the_engine_keeps_them() -> None:
    """Whoever made them still goes on with the chunk."""
    rasterizer, admission = OneAfterTheOther(), Admission(lambda: 100, max_bytes=1 << 30)
    source = PageRange("s3://b/a.pdf", "etag", 10, "ab" * 32, "application/pdf", 5, 0, 5)
    converter = Converter(
        rasterizer,
        Reader(),
        (Request("tiny"),),
        admission,
        lambda *_: True,
        rasterizer.see,
        True,
        "markdown",
        max_chunk_pages=5,
    )
    await convert_shard(Shard("0", (source,)), converter)
    assert rasterizer.num_alive == [0] * 5
    assert admission.num_bytes == admission.num_pages == 0


async def test_a_document_that_changed_or_went_since_it_was_planned(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 3)
    settings = scripted_settings(tmp_path)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    await make_plan(inputs, settings)
    (tmp_path / "in/doc00.pdf").write_bytes(documents.pdf(["other bytes"]))
    (tmp_path / "in/doc01.pdf").unlink()
    collector = Collector()
    folder = open_folder(inputs.output, StorageSettings())
    await convert_locally(planned_shards(folder), settings, collector.write, lambda page: None)
    kinds = [(Path(p.source_uri).name, p.failure.kind if p.failure else "") for p in collector.pages]
    assert Counter(kinds) == Counter(
        [("doc00.pdf", "source_changed")] + [("doc01.pdf", "source_missing")] * 2 + [("doc02.pdf", "")] * 3
    )


def test_pages_that_do_not_add_up_are_an_error(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 2)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    asyncio.run(make_plan(inputs, scripted_settings(tmp_path)))
    (shard,) = planned_shards(open_folder(inputs.output, StorageSettings()))
    rows = [
        PageResult(r.doc_id, r.uri, r.etag, index, r.num_pages, Outcome.BLANK, "")
        for r in shard.ranges
        for index in range(r.start, r.stop)
    ]
    check_complete(shard, rows)
    for wrong in (rows[1:], [*rows, rows[-1]], rows[::-1]):
        with pytest.raises(AccountingError, match="pages went in"):
            check_complete(shard, wrong)


async def test_a_document_of_too_many_pages_is_recorded_and_not_converted(tmp_path: Path) -> None:
    pages = write_samples(tmp_path / "in", 5)
    settings = scripted_settings(tmp_path, "plan.max_document_pages=4")
    account = await convert(Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out")), settings, use_ray=False)
    assert [(Path(uri).name, status) for uri, (status, _) in account.unread.items()] == [
        ("doc03.pdf", "too_large")
    ]
    assert account.pages.total() == sum(number for number in pages.values() if number <= 4)


async def test_a_document_that_was_locked_once_is_not_counted_for_ever(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/locked.pdf").write_bytes(documents.encrypted_pdf("secret"))
    settings = scripted_settings(tmp_path)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    account = await convert(inputs, settings, use_ray=False)
    assert [status for status, _ in account.unread.values()] == ["encrypted"]
    account = await convert(replace(inputs, passwords=("secret",)), settings, use_ray=False)
    assert not account.unread
    assert account.pages == {"ocr": 1}


async def test_bytes_that_come_back_are_read_and_no_failure_any_more(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 3)
    settings = scripted_settings(tmp_path, 'engine.modes=["tiny"]')
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    await make_plan(inputs, settings)
    source = tmp_path / "in/doc01.pdf"
    source.rename(tmp_path / "elsewhere.pdf")
    for _ in range(2):
        account = await convert(inputs, settings, use_ray=False)
        assert account.failures == {"source_missing": 2} and len(account.failed) == 2
    (tmp_path / "elsewhere.pdf").rename(source)
    for _ in range(2):
        account = await convert(inputs, settings, use_ray=False)
        assert account.pages == {"ocr": 5, "blank": 1, "replaced": 2}
        assert not account.failures and not account.failed and account.num_pages == 8
    folder = open_folder(inputs.output, StorageSettings())
    (_, again) = part_keys(folder)
    assert [planned.document.uri for planned in read_part(folder, again)] == [str(source)]
    assert (tmp_path / "out/markdown/doc01.pdf.md").read_text().count("failed") == 0


async def test_the_books_notice_lost_and_foreign_files(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 6)
    settings = scripted_settings(tmp_path)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    await convert(inputs, settings, use_ray=False)
    folder = open_folder(inputs.output, StorageSettings())
    files = sorted((tmp_path / "out/pages").iterdir())
    files[0].rename(files[0].with_name("shard=0000.parquet"))
    account = take_account(folder)
    assert account.num_shards_done == account.num_shards - 1
    with pytest.raises(AccountingError, match="page file of no planned shard"):
        account.insist()
    (tmp_path / "out/pages/shard=0000.parquet").rename(files[1])
    with pytest.raises(AccountingError, match="has not the rows that were planned"):
        take_account(folder).insist()
