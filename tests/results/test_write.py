"""Who commits a shard's pages writes its documents; what a kill leaves out, finishing writes."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from quire.config.sections import StorageSettings
from quire.planning.plan_log import part_keys
from quire.records import Document, DocumentStatus, Failure, Outcome, PageRange, PageResult, PageTiming, Shard
from quire.results.finish import finish
from quire.results.run_folder import provenance
from quire.results.write import ShardWriter
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.storage import Folder, ObjectInfo, open_folder
from tests.runs import read_table, results, scripted_settings, write_samples

_PROVENANCE = dict.fromkeys(("engine", "model", "model_revision", "quire_version", "config_fingerprint"), "x")


def test_the_documents_of_a_shard_are_those_of_the_pages_that_count(tmp_path: Path) -> None:
    """A source that changes between two runs is read by one of them and lost to the other."""
    document = Document("/a.pdf", "1", 9, "ab" * 32, "application/pdf", 1, DocumentStatus.OK, output_name="a.pdf")
    source = PageRange("/a.pdf", "1", 9, document.doc_id, document.media_type, 1, 0, 1)
    shard = Shard("s", (source,), (document,))
    read = PageResult(document.doc_id, "/a.pdf", "1", 0, 1, Outcome.OCR, "", markdown="A text")
    lost = replace(
        read, outcome=Outcome.FAILED, markdown="", failure=Failure("fetch", "source_missing", "it is gone")
    )
    folder = open_folder(str(tmp_path), StorageSettings())
    writer, timings = ShardWriter(folder, _PROVENANCE), [PageTiming(document.doc_id, 0)]
    assert writer.write(shard, [read], timings)
    before = results(folder)
    assert not writer.write(shard, [lost], timings)
    assert results(folder) == before
    assert read_table(folder, "documents")["text"].to_pylist() == ["A text"]


class Counting:
    """A folder that counts the files of which parts are read, by key."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.opened: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder, name)

    def info(self, key: str) -> ObjectInfo:
        self.opened[key] += 1
        return self._folder.info(key)


async def test_documents_that_a_kill_left_out_are_written_from_their_pages(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 5)
    settings = scripted_settings(tmp_path)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    await convert(inputs, settings, use_ray=False)
    folder = open_folder(inputs.output, StorageSettings())
    before = results(folder)
    for name in ("documents", "markdown"):
        for path in (tmp_path / "out" / name).iterdir():
            path.unlink()
    counting: Any = Counting(folder)
    finish(counting, ShardWriter(folder, provenance(folder, settings)), part_keys(folder))
    assert results(folder) == before
    assert set(counting.opened.values()) == {2}, "the books and the documents read each shard once"


async def test_markdown_that_is_wanted_later_needs_no_engine_and_no_source(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 2)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    await convert(inputs, scripted_settings(tmp_path, "text.write_markdown_files=false"), use_ray=False)
    assert not (tmp_path / "out/markdown").exists()
    (tmp_path / "journal").unlink()
    for _ in range(2):
        await convert(inputs, scripted_settings(tmp_path), use_ray=False)
        names = sorted(path.name for path in (tmp_path / "out/markdown").iterdir())
        assert names == ["doc00.pdf.md", "doc01.pdf.md"]
        assert "\n\n" in (tmp_path / "out/markdown/doc01.pdf.md").read_text()
        shutil.rmtree(tmp_path / "out/markdown")
    assert not (tmp_path / "journal").exists()
