"""Whose fault it is: one object's ends as its own row, and the run goes on; a store's, a login's or this machine's
stops the run, and no document is blamed. What is damaged or cut short on the way is fetched again."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from quire.config.sections import RenderSettings, StorageSettings
from quire.config.settings import Settings
from quire.errors import CredentialsRefused, FolderNotFound, ObjectError, StorageError, Unreadable
from quire.flows.local import convert_with
from quire.planning.discover import discover
from quire.planning.plan_log import planned_shards
from quire.rasterize.sandbox import Sandbox
from quire.records import DocumentRef
from quire.run.inputs import Inputs
from quire.run.observer import Observer
from quire.run.plan import plan_with
from quire.storage import open_folder
from quire.storage.source_cache import SourceCache, SourceFile
from quire.storage.system_errors import read_errors, write_errors
from tests import documents
from tests.conftest import TestBucket, new_bucket
from tests.rigs.endpoint import Endpoint
from tests.rigs.fault_proxy import FaultProxy, body_of, fault_proxy, refused, with_body
from tests.runs import Collector, read_table, scripted_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSALS = {
    "InvalidRequest": "400 Bad Request",  # SSE-C
    "KMS.DisabledException": "400 Bad Request",
    "InvalidObjectState": "403 Forbidden",  # archived
    "AccessDenied": "403 Forbidden",
    "MethodNotAllowed": "405 Method Not Allowed",
}
NAMES = ("a.pdf", "m.pdf", "z.pdf")


Change = Callable[[str, bytes], bytes]


class Tampering:
    """Changes the answers to requests for one key, or for all keys below `in/`, some times or always."""

    def __init__(self, change: Change, key: str = "/in/", times: int = 10**9) -> None:
        self.change = change
        self.key = key
        self.times = times

    def __call__(self, request: str, answer: bytes) -> bytes:
        if self.key not in request or self.times == 0 or (request.startswith("HEAD") and self.times < 10**9):
            return answer
        self.times -= 1
        return self.change(request, answer)


def refuse(status: str, code: str) -> Change:
    return lambda request, answer: refused(request, status, code)


def change_body(change: Callable[[bytes], bytes]) -> Change:
    return lambda request, answer: answer if request[0] == "H" else with_body(answer, change(body_of(answer)))


def flipped(body: bytes) -> bytes:
    return body[:-40] + bytes([body[-40] ^ 1]) + body[-39:]


def halved(body: bytes) -> bytes:
    return body[: len(body) // 2]


SPOILED = {
    "flipped": change_body(flipped),
    "halved": change_body(halved),
    "absent": refuse("404 Not Found", "NoSuchKey"),
    "denied": refuse("403 Forbidden", "AccessDenied"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(RenderSettings(), num_workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def bucket(moto_endpoint: Endpoint) -> Iterator[TestBucket]:
    """One for the module, and its proxy too: clients for a new one cost more than a test."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = new_bucket(moto_endpoint, monkeypatch)
        for name in NAMES:
            made.put(f"in/{name}", documents.pdf([f"{name} page {index}" for index in range(2)]))
        yield made


@pytest.fixture(scope="module")
def proxy(bucket: TestBucket) -> Iterator[FaultProxy]:
    with fault_proxy(bucket.endpoint.port) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Rig:
    """A bucket, the proxy before it, and runs from it to a folder of this test's own."""

    bucket: TestBucket
    proxy: FaultProxy
    sandbox: Sandbox
    settings: Settings
    folder: Path

    async def plan(self, source: str = "", output: str = "out") -> dict[str, tuple[str, str]]:
        """Status and detail by the last part of a document's name."""
        inputs = Inputs((source or f"{self.bucket.uri}/in/",), (), str(self.folder / output))
        await plan_with(self.sandbox, inputs, self.settings, Observer())
        rows = read_table(self.folder / output, "plan").to_pylist()
        return {Path(row["uri"]).name: (row["status"], row["detail"]) for row in rows}

    async def convert(self, tamper: Tampering) -> dict[str, str]:
        """The kind of failure of each document's last page, in a run whose plan was made before the store went bad."""
        await self.plan()
        for path in (self.folder / "cache").glob("?" * 64):
            path.unlink()
        self.proxy.tamper = tamper
        collector, shards = Collector(), planned_shards(open_folder(str(self.folder / "out"), StorageSettings()))
        await convert_with(self.sandbox, shards, self.settings, collector.write, lambda page: None)
        return {Path(page.source_uri).name: page.failure.kind if page.failure else "" for page in collector.pages}

    def refs(self, key: str) -> list[DocumentRef]:
        return list(discover([f"{self.bucket.uri}/{key}"], self.settings.storage))


@pytest.fixture
def rig(bucket: TestBucket, proxy: FaultProxy, sandbox: Sandbox, tmp_path: Path) -> Iterator[Rig]:
    """The proxy tampers until the test's end."""
    before = proxy.tamper
    settings = scripted_settings(tmp_path, f"storage.endpoint_url={proxy.url}", "storage.max_retries=4")
    yield Rig(bucket, proxy, sandbox, settings, tmp_path)
    proxy.tamper = before


# Planning


async def test_objects_that_the_store_will_not_give_are_unreadable_and_the_others_are_planned(rig: Rig) -> None:
    for code in REFUSALS:
        rig.bucket.put(f"locked/{code}", b"locked")
    rig.bucket.put("locked/a.pdf", documents.pdf(["open"]))
    keys = [f"locked/{name}" for name in ("a.pdf", *REFUSALS)]
    (rig.folder / "list").write_text("".join(f"{rig.bucket.uri}/{key}\n" for key in keys))

    def tamper(request: str, answer: bytes) -> bytes:
        code = request.rpartition("/")[2]
        return refused(request, REFUSALS[code], code) if code in REFUSALS else answer

    rig.proxy.tamper = tamper
    for source, output in ((f"{rig.bucket.uri}/locked", "listed"), (f"@{rig.folder}/list", "of-manifest")):
        found = await rig.plan(source, output)
        assert found.pop("a.pdf") == ("ok", "")
        assert {status for status, _ in found.values()} == {"unreadable"}
        assert all(code in detail and "network" not in detail for code, (_, detail) in found.items())
        assert set(found) == set(REFUSALS)


async def test_an_object_named_by_itself_is_found_though_it_cannot_be_looked_at(rig: Rig) -> None:
    rig.proxy.tamper = Tampering(refuse("400 Bad Request", "InvalidRequest"), "/in/m.pdf")
    assert [(ref.name, ref.size_bytes > 0) for ref in rig.refs("in/m.pdf")] == [("m.pdf", True)]


@pytest.mark.parametrize("code", list(REFUSALS)[:4])
async def test_a_store_that_gives_nothing_is_no_fault_of_its_objects(rig: Rig, code: str) -> None:
    rig.proxy.tamper = Tampering(refuse(REFUSALS[code], code))
    with pytest.raises(StorageError, match=f"none of 3 documents can be read.*{code}"):
        await rig.plan()
    assert not list((rig.folder / "out/plan").glob("*"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400 Bad Request", "ExpiredToken"),
        ("400 Bad Request", "TokenRefreshRequired"),
        ("403 Forbidden", "InvalidAccessKeyId"),
        ("403 Forbidden", "SignatureDoesNotMatch"),
        ("403 Forbidden", "RequestTimeTooSkewed"),
    ],
)
async def test_a_login_that_ends_stops_planning(rig: Rig, status: str, code: str) -> None:
    rig.proxy.tamper = Tampering(refuse(status, code), "/in/z.pdf")
    with pytest.raises(CredentialsRefused, match=code):
        await rig.plan()
    assert not list((rig.folder / "out/plan").glob("*"))


@pytest.mark.parametrize("spoiled", SPOILED)
async def test_an_answer_that_is_spoiled_once_changes_no_plan(rig: Rig, spoiled: str) -> None:
    rig.proxy.tamper = tamper = Tampering(SPOILED[spoiled], "/in/z.pdf", times=1)
    assert await rig.plan() == dict.fromkeys(NAMES, ("ok", ""))
    assert tamper.times == 0


@pytest.mark.parametrize("spoiled", ["flipped", "halved"])
async def test_an_object_that_stays_damaged_is_unreadable(rig: Rig, spoiled: str) -> None:
    rig.proxy.tamper = Tampering(SPOILED[spoiled], "/in/z.pdf")
    status, detail = (await rig.plan())["z.pdf"]
    assert status == "unreadable" and "write it anew" in detail


async def test_without_an_md5_to_check_against_the_size_tells(rig: Rig) -> None:
    rig.proxy.tamper = Tampering(SPOILED["halved"], "/in/z.pdf")
    settings = replace(rig.settings.storage, etag_is_md5=False)
    with pytest.raises(Unreadable, match="listed with"):
        SourceCache(rig.folder, 1 << 20, settings).fetch_new(*rig.refs("in/z.pdf"))


async def test_an_object_with_a_key_of_kms_has_no_md5(rig: Rig) -> None:
    body = documents.pdf(["secret"])
    rig.bucket.client.put_object(Bucket=rig.bucket.name, Key="kms.pdf", Body=body, ServerSideEncryption="aws:kms")
    rig.proxy.tamper = Tampering(SPOILED["flipped"], "/kms.pdf")
    found = SourceCache(rig.folder, 1 << 20, rig.settings.storage).fetch_new(*rig.refs("kms.pdf"))
    assert found.path.read_bytes() == flipped(body)


async def test_planning_costs_one_request_a_document(rig: Rig) -> None:
    num_before = len(rig.proxy.requests)
    await rig.plan()
    of_documents = [request for request, _ in rig.proxy.requests[num_before:] if ".pdf" in request]
    assert sorted(of_documents) == [f"GET /{rig.bucket.name}/in/{name}" for name in NAMES]


# Converting


@pytest.mark.parametrize("spoiled", SPOILED)
async def test_an_answer_that_is_spoiled_once_fails_no_page(rig: Rig, spoiled: str) -> None:
    tamper = Tampering(SPOILED[spoiled], "/in/z.pdf", times=1)
    assert await rig.convert(tamper) == dict.fromkeys(NAMES, "")
    assert tamper.times == 0


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (refuse("400 Bad Request", "InvalidRequest"), "source_unreadable"),
        (refuse("403 Forbidden", "AccessDenied"), "source_unreadable"),
        (refuse("404 Not Found", "NoSuchKey"), "source_missing"),
    ],
)
async def test_one_object_that_is_not_given_fails_its_own_pages(rig: Rig, change: Change, kind: str) -> None:
    assert await rig.convert(Tampering(change, "/in/a.pdf")) == {"a.pdf": kind, "m.pdf": "", "z.pdf": ""}


@pytest.mark.parametrize("code", [*list(REFUSALS)[:4], "NoSuchBucket", "ExpiredToken"])
async def test_a_store_that_gives_nothing_any_more_stops_the_run(rig: Rig, code: str) -> None:
    status = "404 Not Found" if code == "NoSuchBucket" else REFUSALS.get(code, "400 Bad Request")
    with pytest.raises(StorageError, match=code):
        await rig.convert(Tampering(refuse(status, code)))


async def test_who_may_not_list_knows_by_what_was_read_before(rig: Rig) -> None:
    ids = {name: (ref, hashlib.sha256(rig.bucket.folder("in").get(name)).hexdigest())
           for name in ("a.pdf", "z.pdf") for ref in rig.refs(f"in/{name}")}  # fmt: skip

    def tamper(request: str, answer: bytes) -> bytes:
        is_refused = "list-type" in request or "/in/a.pdf" in request
        return refused(request, "403 Forbidden", "AccessDenied") if is_refused else answer

    rig.proxy.tamper = tamper
    cache = SourceCache(rig.folder / "cache", 1 << 20, rig.settings.storage)

    def fetch(name: str) -> SourceFile:
        ref, doc_id = ids[name]
        return cache.fetch(ref.uri, doc_id, ref.size_bytes)

    with pytest.raises(StorageError, match="nor can anything else be read there") as caught:
        fetch("a.pdf")
    assert not isinstance(caught.value, ObjectError)
    fetch("z.pdf")
    with pytest.raises(ObjectError, match="AccessDenied"):
        fetch("a.pdf")


@pytest.mark.parametrize("times", [1, 10**9])
async def test_a_cache_whose_folder_goes_is_no_documents_fault(rig: Rig, times: int) -> None:
    """As a cleaner of temporary files has it."""

    def take_folder(request: str, answer: bytes) -> bytes:
        shutil.rmtree(rig.folder / "cache", ignore_errors=True)
        return answer

    tamper = Tampering(take_folder, "/in/a.pdf", times)
    if times == 1:
        assert await rig.convert(tamper) == dict.fromkeys(NAMES, "")
    else:
        with pytest.raises(StorageError, match="cache.*No such file"):
            await rig.convert(tamper)


# This machine


def make_loop(folder: Path) -> None:
    (folder / "m.pdf").symlink_to("m.pdf")


def make_failing(folder: Path) -> None:
    """A file of 4 kB whose reading fails, as one on a bad sector does: the loopback has no speed."""
    (folder / "m.pdf").symlink_to("/sys/class/net/lo/speed")


def make_long(folder: Path) -> None:
    """A path of more bytes than the system takes at once."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(45):
        os.mkdir("n" * 100, dir_fd=here)
        deeper = os.open("n" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("m.pdf", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


@pytest.mark.parametrize("make", [make_loop, make_failing, make_long])
async def test_one_file_that_cannot_be_read_is_unreadable(rig: Rig, make: Callable[[Path], None]) -> None:
    (rig.folder / "in").mkdir()
    for name in ("a.pdf", "z.pdf"):
        (rig.folder / "in" / name).write_bytes(documents.pdf([name]))
    make(rig.folder / "in")
    found = await rig.plan(str(rig.folder / "in"))
    assert (found.pop("a.pdf"), found.pop("z.pdf")) == (("ok", ""), ("ok", ""))
    assert [status for status, _ in found.values()] == ["unreadable"]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        *((number, Unreadable) for number in (errno.EIO, errno.ELOOP, errno.ENAMETOOLONG, errno.ESTALE)),
        *((number, StorageError) for number in (errno.EMFILE, errno.ENOMEM, errno.ENOSPC, errno.ENOTCONN)),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
async def test_whose_fault_an_error_of_the_system_is(number: int, error: type[StorageError]) -> None:
    with pytest.raises(StorageError) as caught, read_errors("read", "/a"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is error


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EIO, errno.ENOSPC, errno.EMFILE])
async def test_what_is_written_is_never_a_documents_fault(number: int) -> None:
    with pytest.raises(StorageError) as caught, write_errors("write", "/a"):
        raise OSError(number, os.strerror(number))
    assert not isinstance(caught.value, ObjectError)


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process may open none within the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_machine_without_descriptors_is_no_documents_fault(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"one")
    (tmp_path / "deeper").mkdir()
    (ref,) = discover([str(tmp_path / "a.pdf")], StorageSettings())
    folder = open_folder(str(tmp_path), StorageSettings())
    cache = SourceCache(tmp_path / "cache", 1 << 20, StorageSettings())
    doc_id = hashlib.sha256(b"one").hexdigest()
    for use in (
        lambda: cache.fetch_new(ref),
        lambda: cache.fetch(ref.uri, doc_id, 3),
        lambda: list(folder.list()),
    ):
        with pytest.raises(StorageError, match="Too many open files") as caught, no_more_files():
            use()
        assert not isinstance(caught.value, ObjectError)


async def test_a_bucket_that_is_not_there_stops_a_run_that_was_planned(
    moto_bucket: TestBucket, tmp_path: Path
) -> None:
    cache = SourceCache(tmp_path / "cache", 1 << 20, moto_bucket.settings)
    with pytest.raises(StorageError, match="NoSuchBucket") as caught:
        cache.fetch("s3://no-such-bucket-here/a.pdf", "0" * 64, 1)
    assert not isinstance(caught.value, FolderNotFound)
