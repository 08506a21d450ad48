"""Nights: some of them against a fresh run, two at once, what is no deletion, the valve, the page, the exit codes."""

import json
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from quire.api.results import open_run
from quire.engines.scripted_engine import journal_counts
from quire.errors import ConfigError, NotFound, TooManyGone
from quire.jobs.nightly import nightly
from quire.nights.log import latest_night
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from tests import documents
from tests.conftest import TestBucket
from tests.night_by_night import LivingBucket, LocalBucket, Nights, S3Bucket, go_through, sha256
from tests.runs import SCRIPTED, quire, read_table, scripted_settings, set_options
from tests.waiting import wait_for, wait_for_end


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """Five documents in a folder, and no night yet."""
    living = LivingBucket(LocalBucket(tmp_path / "in"), random.Random(0))
    nights = Nights.of(living, str(tmp_path / "out"), tmp_path, "scripted.reject_share=0.0")
    for name in "abcde":
        nights.living.put(f"{name}.pdf", documents.pdf([f"document {name}"]))
    return nights


def state(nights: Nights) -> dict[str, str]:
    """What the newest night says: the change by name, "" for what is as it was."""
    return {Path(row["uri"]).name: row["change"] for row in latest_night(nights.folder).table.to_pylist()}


def num_pages_read(nights: Nights) -> int:
    return sum(journal_counts(nights.directory / "journal").values())


async def test_five_nights_over_a_folder_end_as_a_fresh_run(tmp_path: Path) -> None:
    living = LivingBucket(LocalBucket(tmp_path / "in"), random.Random(1))
    nights = Nights.of(living, str(tmp_path / "out"), tmp_path)
    await go_through(nights, num_nights=5, num_killed=2)


async def test_three_nights_over_a_bucket_end_as_a_fresh_run(moto_bucket: TestBucket, tmp_path: Path) -> None:
    living = LivingBucket(S3Bucket(moto_bucket.client, moto_bucket.name), random.Random(2))
    endpoint = f"storage.endpoint_url={moto_bucket.settings.endpoint_url}"
    nights = Nights.of(living, f"{moto_bucket.uri}/out", tmp_path, endpoint)
    await go_through(nights, num_nights=3, num_killed=1)


async def test_every_change_by_its_name_and_only_new_bytes_are_read(nights: Nights) -> None:
    await nights.run()
    assert state(nights) == dict.fromkeys(("a.pdf", "b.pdf", "c.pdf", "d.pdf", "e.pdf"), "added")
    assert num_pages_read(nights) == 5
    living = nights.living
    living.put("b.pdf", documents.pdf(["another text"]))
    living.touch("c.pdf")
    living.rename("d.pdf", "sub-d.pdf")
    living.put("f.pdf", living.held["a.pdf"])
    living.delete("e.pdf")
    await nights.run()
    assert state(nights) == {
        "a.pdf": "",
        "b.pdf": "edited",
        "c.pdf": "touched",
        "d.pdf": "deleted",
        "sub-d.pdf": "renamed",
        "e.pdf": "deleted",
        "f.pdf": "added",
    }
    assert num_pages_read(nights) == 6
    texts = {Path(row["uri"]).name: row["text"] for row in nights.results.live_documents}
    assert texts["a.pdf"] == texts["f.pdf"]
    assert len(set(texts.values())) == 4 and len(texts) == 5

    living.put("e.pdf", living.past[4])
    await nights.run()
    assert state(nights)["e.pdf"] == "added" and "d.pdf" not in state(nights)
    assert num_pages_read(nights) == 6, "bytes that were there before are not read again"


async def test_a_night_without_changes_leaves_no_file(nights: Nights) -> None:
    await nights.run()
    before = {info.key: info.etag for info in nights.folder.list()}
    report = await nightly(nights.inputs, nights.settings, use_ray=False)
    assert "nothing has changed" in report.describe()
    assert {info.key: info.etag for info in nights.folder.list()} == before


async def test_the_valve(nights: Nights) -> None:
    await nights.run()
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        nights.living.delete(name)
    nights.living.put("f.pdf", documents.pdf(["new"]))
    before = {info.key for info in nights.folder.list()}
    with pytest.raises(TooManyGone, match=r"3 of 5 objects are gone at once.*a\.pdf.*--allow-deletions"):
        await nightly(nights.inputs, nights.settings, use_ray=False)
    assert {info.key for info in nights.folder.list()} == before, "nothing was planned, read or recorded"
    await nightly(nights.inputs, nights.settings, use_ray=False, allow_deletions=True)
    assert Counter(state(nights).values()) == {"deleted": 3, "": 2, "added": 1}


async def test_a_listing_that_does_not_come_to_its_end_deletes_nothing(nights: Nights) -> None:
    await nights.run()
    nights.living.delete("a.pdf")
    inputs = Inputs((*nights.inputs.sources, str(nights.directory / "unmounted")), (), nights.output)
    with pytest.raises(NotFound, match="unmounted"):
        await nightly(inputs, nights.settings, use_ray=False, allow_deletions=True)
    with pytest.raises(ConfigError, match="nothing to read"):
        await nightly(Inputs((), (), nights.output), nights.settings, use_ray=False, allow_deletions=True)
    assert state(nights)["a.pdf"] == "added"


async def test_what_cannot_be_read_is_not_deleted(nights: Nights) -> None:
    """A manifest may name what is not there, or may not be seen: which of the two, no store tells everybody."""
    manifest, folder = nights.directory / "list", nights.directory / "in"
    manifest.write_text(f"{folder}/a.pdf\n{folder}/b.pdf\n{folder}/c.pdf\n")
    inputs = Inputs((), (str(manifest),), nights.output)
    await nightly(inputs, nights.settings, use_ray=False)
    (folder / "b.pdf").unlink()
    report = await nightly(inputs, nights.settings, use_ray=False)
    assert report.has_failures and not report.is_recorded
    assert "unreadable  1     " in report.describe() and "b.pdf" in report.describe()
    assert [Path(row["uri"]).name for row in nights.results.live_documents] == ["a.pdf", "b.pdf", "c.pdf"]
    manifest.write_text(f"{folder}/a.pdf\n{folder}/c.pdf\n")
    await nightly(inputs, nights.settings, use_ray=False)
    assert state(nights) == {"a.pdf": "", "b.pdf": "deleted", "c.pdf": ""}


async def test_bytes_that_were_planned_and_moved_before_they_were_read(nights: Nights) -> None:
    """As a night leaves them that is killed between its plan and its first shard."""
    await make_plan(nights.inputs, nights.settings)
    nights.living.rename("a.pdf", "moved.pdf")
    await nights.run()
    failures = [row["failure"]["kind"] for row in read_table(nights.folder, "pages").to_pylist() if row["failure"]]
    assert failures == ["source_missing"], "the books keep what happened"
    assert "moved.pdf" in {Path(row["uri"]).name for row in nights.results.live_documents}
    await nights.check_against_a_fresh_run(str(nights.directory / "fresh"))


async def test_bytes_that_went_before_they_were_read_and_come_back(
    moto_bucket: TestBucket, tmp_path: Path
) -> None:
    """In a store whose etags are of the bytes, so that the object is the one that was planned."""
    endpoint = f"storage.endpoint_url={moto_bucket.settings.endpoint_url}"
    living = LivingBucket(S3Bucket(moto_bucket.client, moto_bucket.name), random.Random(0))
    nights = Nights.of(living, f"{moto_bucket.uri}/out", tmp_path, endpoint)
    long, short = documents.pdf([f"page {i}" for i in range(6)]), documents.pdf(["short"])
    living.put("long.pdf", long)
    living.put("short.pdf", short)
    await make_plan(nights.inputs, nights.settings)
    living.delete("long.pdf")
    nights.forget_cache()
    await nights.run()
    assert num_pages_read(nights) == 1
    living.put("long.pdf", long)
    await nights.run()
    assert num_pages_read(nights) == 7
    await nights.check_against_a_fresh_run(f"{moto_bucket.uri}/fresh")
    await nights.run()
    assert state(nights) == {"long.pdf": "added", "short.pdf": ""}


async def test_two_nights_at_once(nights: Nights) -> None:
    """They read the same new objects; one of them records them, and neither fails."""
    both = [nights.start("scripted.seconds_per_page=0.1", "scripted.window=1") for _ in range(2)]
    told = [wait_for_end(run) for run in both]
    assert [run.returncode for run in both] == [0, 0], told
    assert state(nights) == dict.fromkeys(("a.pdf", "b.pdf", "c.pdf", "d.pdf", "e.pdf"), "added")
    assert latest_night(nights.folder).number == 1, "nothing is counted twice"
    assert read_table(nights.folder, "plan").num_rows == 5
    nights.check_files()
    await nights.check_against_a_fresh_run(str(nights.directory / "fresh"))


async def test_an_older_listing_is_not_recorded_over_a_newer_one(nights: Nights) -> None:
    await nights.run()
    nights.living.put("f.pdf", documents.pdf([f"page {i}" for i in range(12)]))
    older = nights.start("scripted.seconds_per_page=0.3", "scripted.window=1")

    def reads_the_new_document() -> bool:
        assert older.poll() is None
        return num_pages_read(nights) >= 6

    wait_for("the older run, which has listed, to read the new document", reads_the_new_document)
    older.send_signal(signal.SIGSTOP)
    nights.living.put("g.pdf", documents.pdf(["came after the listing"]))
    nights.living.delete("a.pdf")
    nights.living.put("b.pdf", documents.pdf(["changed after the listing"]))
    await nights.run()
    newer = state(nights)
    older.send_signal(signal.SIGCONT)
    _, errors = wait_for_end(older)
    assert older.returncode == 0, errors
    assert "another run recorded night 2 meanwhile" in errors
    assert state(nights) == newer
    assert newer == {
        "a.pdf": "deleted",
        "b.pdf": "edited",
        "c.pdf": "",
        "d.pdf": "",
        "e.pdf": "",
        "f.pdf": "added",
        "g.pdf": "added",
    }
    assert latest_night(nights.folder).number == 2


def test_the_command_its_page_and_its_exit_codes(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "good.pdf").write_bytes(documents.pdf(["one", "two"]))
    (source / "bad\x1b[31m\n.pdf").write_bytes(b"no document")
    arguments = ["nightly", str(source), "--output", str(output), *set_options(SCRIPTED)]
    first = quire(*arguments)
    assert first.returncode == 3, first.stderr
    for words in (
        f"night 1 of {output}: recorded",
        "added       2 ",
        r"bad\x1b[31m\n.pdf  unsupported: seems to be plain text",
        "new pages   2: 2 ocr;",
        "live        2 objects: 1 ok, 1 unsupported",
        "nights/night-000001.parquet",
    ):
        assert words in first.stdout
    assert (output / "nights/night-000001.txt").read_text() == first.stdout
    (source / "good.pdf").rename(source / "better.pdf")
    second = quire(*arguments, "--json")
    assert second.returncode == 0, "what failed in an earlier night is no news"
    told: dict[str, Any] = json.loads(second.stdout)
    assert told["night"] == 2 and told["changes"]["renamed"] == 1 and told["changes"]["deleted"] == 0
    assert told["pages"] == {} and told["live"] == {"ok": 1, "unsupported": 1}
    for path in source.iterdir():
        path.unlink()
    (source / "only.pdf").write_bytes(documents.pdf(["only"]))
    third = quire(*arguments)
    assert third.returncode == 7 and "--allow-deletions" in third.stderr
    assert quire(*arguments, "--allow-deletions").returncode == 0
    assert sha256((source / "only.pdf").read_bytes()) in {
        row["doc_id"] for row in open_run(str(output)).live_documents
    }


async def test_a_document_that_a_password_opens(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/locked.pdf").write_bytes(documents.encrypted_pdf("secret"))
    settings = scripted_settings(tmp_path)
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
    report = await nightly(inputs, settings, use_ray=False)
    assert report.worst[0][1].startswith("encrypted")
    opened = Inputs(inputs.sources, (), inputs.output, ("secret",))
    report = await nightly(opened, settings, use_ray=False)
    assert list(report.changes["opened"]) == [f"{tmp_path}/in/locked.pdf"] and report.pages == {"ocr": 1}
    assert not (await nightly(opened, settings, use_ray=False)).is_recorded
