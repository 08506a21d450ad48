"""Whole runs by calls: nothing is printed, no handler is installed, and results are read back."""

import asyncio
import logging
import signal
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

import quire
from quire.errors import ConfigError, NothingThere
from quire.run.observer import Meter, Observer
from quire.tables.schema import DOCUMENTS, PAGES
from tests import documents
from tests.runs import write_samples

QUICK = {"engine": "scripted", "scripted": {"num_words": 3}, "render": {"num_workers": 1}}


class Listener(Observer):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.phases: dict[str, Mapping[str, int]] = {}

    def say(self, words: str) -> None:
        self.words.append(words)

    @contextmanager
    def phase(self, label: str, noun: str, total: int | None = None, num_done: int = 0):  # type: ignore[no-untyped-def]
        phases = self.phases

        class Kept(Meter):
            def wait_for(self, what: str) -> None:
                pass

            def show(self, counts: Mapping[str, int]) -> None:
                phases[label] = dict(counts)

        yield Kept()


def test_a_run_by_calls(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pages = write_samples(tmp_path / "in", 4)
    (tmp_path / "in/broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    loggers = (list(logging.root.handlers), list(logging.getLogger("quire").handlers))
    heard = Listener()
    totals = quire.plan(tmp_path / "in", tmp_path / "out", **QUICK)
    account = quire.convert([tmp_path / "in"], tmp_path / "out", observer=heard, **QUICK)
    again = quire.convert([tmp_path / "in"], tmp_path / "out", **QUICK)
    assert totals.num_pages == account.num_pages == again.pages.total() == sum(pages.values())
    assert len(account.unread) == 1 and not account.problems
    assert sum(heard.phases["converting"].values()) == account.num_pages and "pages" in " ".join(heard.words)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (list(logging.root.handlers), list(logging.getLogger("quire").handlers)) == loggers
    assert capfd.readouterr() == ("", "")

    run = quire.open_run(tmp_path / "out")
    assert run.settings["engine.name"] == "scripted" and run.account() == account
    table = run.pages.to_arrow()
    assert table.schema.equals(PAGES) and len(table) == sum(pages.values())
    names = {
        Path(row["source_uri"]).name: row["num_pages"] for row in run.documents.select("source_uri", "num_pages")
    }
    assert names == {**pages, "broken.pdf": 0}
    assert run.documents.to_arrow().schema.equals(DOCUMENTS)
    live = list(run.live_documents)
    assert {Path(row["uri"]).name for row in live} == set(pages) and all(row["text"] for row in live)
    narrow = run.live_pages.select("markdown").to_arrow()
    assert narrow.column_names == ["uri", "doc_id", "markdown"] and len(narrow) == sum(pages.values())
    with pytest.raises(KeyError, match="colour"):
        list(run.pages.select("colour"))


async def test_a_coroutine_in_a_loop_of_its_callers(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 1)
    account = await quire.convert_async(str(tmp_path / "in"), str(tmp_path / "out"), limit=1, **QUICK)
    assert account.is_complete and account.pages.total() == 1
    assert await asyncio.to_thread(lambda: len(quire.open_run(tmp_path / "out").pages.to_arrow())) == 1


def test_retried_pages_count_once_and_old_tables_have_todays_columns(tmp_path: Path) -> None:
    """Both what `pages` holds twice after a retry, and a file of a version that lacked columns."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(documents.pdf(["one", "two"]))
    account = quire.convert(tmp_path / "in", tmp_path / "out", **QUICK)
    assert account.pages.total() == 2
    (path,) = (tmp_path / "out/pages").glob("*.parquet")
    import pyarrow.parquet as pq

    table = pq.read_table(path).drop_columns(["marks", "ink_read_share"])
    pq.write_table(table, path)
    run = quire.open_run(tmp_path / "out")
    assert run.pages.to_arrow().schema.equals(PAGES)
    assert run.pages.select("marks").to_arrow() == pa.table({"marks": pa.nulls(2, PAGES.field("marks").type)})


def test_what_makes_no_sense_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to read"):
        quire.convert([], tmp_path / "out")
    with pytest.raises(NothingThere):
        quire.open_run(tmp_path)
    with pytest.raises(quire.QuireError, match="unknown engine"):
        quire.plan("x", tmp_path / "out", engine="none")
    with pytest.raises(AttributeError):
        quire.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert set(quire.__all__) <= set(dir(quire))


def test_a_run_without_a_document_has_tables_without_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    quire.convert(tmp_path / "in", tmp_path / "out", **QUICK)
    run = quire.open_run(tmp_path / "out")
    assert run.pages.to_arrow().schema.equals(PAGES) and len(run.documents.to_arrow()) == 1
    assert run.live_pages.select("uri", "markdown").to_arrow().column_names == ["uri", "markdown"]
    assert run.live_documents.to_arrow().column_names == ["uri", *DOCUMENTS.names]


def test_what_is_planned_can_be_converted_with_the_same_settings(tmp_path: Path) -> None:
    """A model's revision is found out by both."""
    write_samples(tmp_path / "in", 1)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    quire.plan(tmp_path / "in", tmp_path / "out", engine={"name": "vllm", "model": str(model)})
    assert quire.open_run(tmp_path / "out").settings["engine.model_revision"]
