"""Who commits a shard's pages writes its documents; what a kill leaves out, finishing writes."""

from dataclasses import replace
from pathlib import Path

from jobs.convert import convert
from jobs.plan import Inputs
from pipeline.config import StorageSettings
from pipeline.records import Document, DocumentStatus, Failure, Outcome, PageRange, PageResult, PageTiming, Shard
from pipeline.storage import open_folder
from pipeline.write import ShardWriter
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
    await convert(inputs, settings, use_ray=False)
    assert results(folder) == before
