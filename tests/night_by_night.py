"""A bucket that lives: adds, edits, touches, renames, deletes and copies drawn from a seed, night after night, with
runs that are killed in between; and what must be true after each night and at the end. `go_through` is a whole life.

Everything is real: the command's own code, SIGKILL to a process of its own, local folders or an S3 server.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from quire.api.results import Run
from quire.config.settings import Settings
from quire.engines.scripted_engine import journal_counts
from quire.jobs.nightly import nightly
from quire.nights.log import latest_night
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.storage import Folder, open_folder
from tests import documents
from tests.runs import command, read_table, scripted_settings, set_options
from tests.waiting import BOUND_S, wait_for

_OVERRIDES = (
    "plan.pages_per_shard=4",
    "scripted.reject_share=0.1",
    "render.num_workers=1",
    'engine.modes=["tiny"]',
)
_PAGE_COLUMNS = ("page_index", "outcome", "markdown", "raw_text", "failure")


class Bucket(Protocol):
    """What holds the documents, by name."""

    @property
    def uri(self) -> str: ...

    def put(self, name: str, data: bytes) -> None: ...

    def touch(self, name: str, data: bytes) -> None:
        """Write the same bytes again, so that the etag is another."""

    def delete(self, name: str) -> None: ...


@dataclass(slots=True)
class LocalBucket:
    folder: Path

    @property
    def uri(self) -> str:
        return str(self.folder)

    def put(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(data)

    def touch(self, name: str, data: bytes) -> None:
        os.utime(self.folder / name)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink()


@dataclass(slots=True)
class S3Bucket:
    """`client` is plain boto3."""

    client: Any
    name: str

    @property
    def uri(self) -> str:
        return f"s3://{self.name}/in"

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"in/{name}", Body=data)

    def touch(self, name: str, data: bytes) -> None:
        """In parts where it was whole and the reverse: that is in the etag."""
        where = {"Bucket": self.name, "Key": f"in/{name}"}
        if "-" in self.client.head_object(**where)["ETag"]:
            self.put(name, data)
            return
        upload = {**where, "UploadId": self.client.create_multipart_upload(**where)["UploadId"]}
        etag = self.client.upload_part(**upload, PartNumber=1, Body=data)["ETag"]
        self.client.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]}
        )

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"in/{name}")


@dataclass(slots=True)
class LivingBucket:
    """The bucket and its life: `held` is what it holds now, `past` all bytes that it ever held."""

    bucket: Bucket
    chance: random.Random
    held: dict[str, bytes] = field(default_factory=dict)
    past: list[bytes] = field(default_factory=list)
    num_names: int = 0

    def begin(self, num_documents: int) -> None:
        for _ in range(num_documents):
            self.put(self._new_name(), self._new_bytes())

    def live_a_day(self) -> None:
        """Some events; no more than a third of the objects go."""
        num_going = len(self.held) // 3
        for _ in range(self.chance.randint(1, 6)):
            name = self.chance.choice(sorted(self.held))
            match self.chance.choice(["add", "edit", "touch", "rename", "delete", "copy", "return"]):
                case "add":
                    self.put(self._new_name(), self._new_bytes())
                case "edit":
                    self.put(name, self._new_bytes())
                case "touch":
                    self.touch(name)
                case "rename" if num_going:
                    num_going -= 1
                    self.rename(name, self._new_name())
                case "delete" if num_going:
                    num_going -= 1
                    self.delete(name)
                case "copy":
                    self.put(self._new_name(), self.held[name])
                case "return":  # bytes that were there once, under a name that is taken or one that was
                    self.put(self._any_name(), self.chance.choice(self.past))

    def touch(self, name: str) -> None:
        self.bucket.touch(name, self.held[name])

    def rename(self, name: str, new_name: str) -> None:
        self.put(new_name, self.held[name])
        self.delete(name)

    def sha256s(self) -> dict[str, str]:
        return {f"{self.bucket.uri}/{name}": sha256(data) for name, data in self.held.items()}

    def put(self, name: str, data: bytes) -> None:
        self.bucket.put(name, data)
        self.held[name] = data
        self.past.append(data)

    def delete(self, name: str) -> None:
        self.bucket.delete(name)
        del self.held[name]

    def _new_name(self) -> str:
        self.num_names += 1
        return f"{self.num_names:03d}.pdf"

    def _any_name(self) -> str:
        return f"{self.chance.randint(1, self.num_names):03d}.pdf"

    def _new_bytes(self) -> bytes:
        number = self.chance.getrandbits(32)
        match self.chance.random():
            case share if share < 0.05:
                return b""
            case share if share < 0.1:
                return b"no document %d" % number
            case share:  # one in seven is longer than a shard
                num_pages = self.chance.randint(5, 9) if share > 0.85 else self.chance.randint(1, 3)
                return documents.pdf([f"{number} {i}" if i != 2 else "" for i in range(num_pages)])


@dataclass(slots=True)
class Nights:
    """A run of nights over a living bucket, and what is remembered of them."""

    living: LivingBucket
    output: str
    directory: Path
    settings: Settings
    options: list[str]
    files: dict[str, str] = field(default_factory=dict)  # sha256 of each pages file that was seen

    @classmethod
    def of(cls, living: LivingBucket, output: str, directory: Path, *overrides: str) -> Nights:
        overrides = (*_OVERRIDES, *overrides)
        settings = scripted_settings(directory, *overrides)
        own = (f"scripted.journal={directory / 'journal'}", f"flow.cache_dir={directory / 'cache'}")
        options = set_options(("engine.name=scripted", "plan.documents_per_part=6", *overrides, *own))
        return cls(living, output, directory, settings, options)

    @property
    def folder(self) -> Folder:
        return open_folder(self.output, self.settings.storage)

    @property
    def results(self) -> Run:
        return Run(self.folder)

    @property
    def inputs(self) -> Inputs:
        return Inputs((self.living.bucket.uri,), (), self.output)

    async def run(self) -> None:
        """A night that goes well, and what must be true after it. Raises AssertionError."""
        read_before = self._pages_that_were_read()
        calls_before = self._num_calls(read_before)
        await nightly(self.inputs, self.settings, use_ray=False)
        assert self._num_calls(read_before) == calls_before, "a page that was read is read again"
        self.check_files()
        live = latest_night(self.folder).live.to_pylist()
        assert {row["uri"]: row["doc_id"] for row in live} == self.living.sha256s()

    def start(self, *more: str) -> subprocess.Popen[str]:
        """A night in a process of its own."""
        arguments = ["nightly", self.living.bucket.uri, "--output", self.output, *self.options, *set_options(more)]
        return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run_and_kill(self, chance: random.Random) -> bool:
        """A night that is killed at a moment drawn by chance. False if it was over before."""
        count: Callable[[], int] = chance.choice(
            [
                lambda: self._num_files("plan/"),
                self._num_lines,
                lambda: self._num_files("pages/"),
                self._num_nights,
            ]
        )
        target = count() + chance.randint(1, 3 if count == self._num_lines else 1)
        process = self.start("scripted.seconds_per_page=0.05", "scripted.window=2")
        try:
            wait_for(
                f"{target} where there are {count()}",
                lambda: process.poll() is not None or count() >= target,
                saw=count,
            )
            with suppress(subprocess.TimeoutExpired):  # to hit moments that no count tells
                process.wait(chance.choice([0.0, 0.02, 0.1]))
            was_killed = process.poll() is None
        except BaseException as exc:
            process.kill()
            exc.add_note(process.communicate(timeout=BOUND_S)[1][-3000:])
            raise
        process.kill()
        errors = process.communicate(timeout=BOUND_S)[1]
        self.forget_cache()
        assert was_killed or process.returncode in (0, 3), errors[-3000:]
        self.check_files()
        return was_killed

    async def check_against_a_fresh_run(self, fresh_output: str) -> None:
        """What is live now is what `quire convert` makes of the bucket in an empty folder."""
        account = await convert(Inputs((self.living.bucket.uri,), (), fresh_output), self.settings, use_ray=False)
        assert not account.problems
        fresh = open_folder(fresh_output, self.settings.storage)
        rows = read_table(fresh, "documents").to_pylist()
        converted = {row["doc_id"]: row for row in rows if row["text"] is not None}
        expected = {row["source_uri"]: converted.get(row["doc_id"], row) for row in rows}
        live = {row["uri"]: row for row in latest_night(self.folder).live.to_pylist()}
        assert live.keys() == expected.keys()
        for uri, row in expected.items():
            assert [live[uri][name] for name in ("doc_id", "status", "num_pages", "num_failed")] == [
                *(row[name] for name in ("doc_id", "status", "num_pages")),
                row["num_failed"] or 0,
            ]
        texts = {row.pop("uri"): row for row in self.results.live_documents.select("text", "page_ends")}
        assert texts == {
            uri: {name: row[name] for name in ("doc_id", "text", "page_ends")}
            for uri, row in expected.items()
            if row["num_pages"]
        }
        pages: dict[str, list[dict[str, Any]]] = {}
        for page in read_table(fresh, "pages").to_pylist():
            pages.setdefault(page["doc_id"], []).append({name: page[name] for name in _PAGE_COLUMNS})
        now: dict[str, list[dict[str, Any]]] = {}
        for page in self.results.live_pages.select(*_PAGE_COLUMNS):
            now.setdefault(page["uri"], []).append({name: page[name] for name in _PAGE_COLUMNS})
        assert {uri: _in_order(rows) for uri, rows in now.items()} == {
            uri: _in_order(pages[row["doc_id"]]) for uri, row in expected.items() if row["num_pages"]
        }

    def forget_cache(self) -> None:
        """As if the next night ran on another machine."""
        shutil.rmtree(self.directory / "cache", ignore_errors=True)

    def check_files(self) -> None:
        """No file of `pages` that was there once is other or gone."""
        now = {info.key: sha256(self.folder.get(info.key)) for info in self.folder.list("pages/")}
        assert self.files.items() <= now.items()
        self.files = now

    def _pages_that_were_read(self) -> set[tuple[str, int]]:
        """Those that an engine was asked for, and whose rows are committed."""
        if not self._num_files("pages/"):
            return set()
        table = read_table(self.folder, "pages").select(["doc_id", "page_index", "failure"]).to_pylist()
        return {
            (row["doc_id"], row["page_index"])
            for row in table
            if not row["failure"] or row["failure"]["stage"] != "fetch"
        }

    def _num_calls(self, pages: set[tuple[str, int]]) -> int:
        counts = journal_counts(self.directory / "journal")
        return sum(number for (doc_id, index, _), number in counts.items() if (doc_id, index) in pages)

    def _num_lines(self) -> int:
        journal = self.directory / "journal"
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    def _num_files(self, prefix: str) -> int:
        return sum(1 for _ in self.folder.list(prefix))

    def _num_nights(self) -> int:
        return self._num_files("nights/")


async def go_through(nights: Nights, num_nights: int, num_killed: int) -> None:
    """So many nights, of which some are killed, and the end. Raises AssertionError."""
    living, chance = nights.living, nights.living.chance
    living.begin(6)
    killed = chance.sample(range(num_nights - 1), num_killed)
    for night in range(num_nights):
        living.live_a_day()
        if night in killed:
            for _ in range(5):  # one that was over before is no kill: another day, another try
                if nights.run_and_kill(chance):
                    break
                living.live_a_day()
            else:
                raise AssertionError("five nights were over before they were killed")
        else:
            await nights.run()
    await nights.check_against_a_fresh_run(f"{nights.output}-fresh")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _in_order(pages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(pages, key=lambda page: int(page["page_index"]))
