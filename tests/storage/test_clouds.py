"""Google's and Azure's buckets, and documents on web servers: faults, what has changed, and what a person is told.

What every folder promises, `test_storage.py` asks of them as well.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quire.api.results import Run
from quire.config.sections import StorageSettings
from quire.errors import (
    ConfigError,
    CredentialsRefused,
    NotFound,
    NothingThere,
    PermissionDenied,
    SourceChanged,
    StorageError,
    StoreMisconfigured,
    TooLarge,
    Unreadable,
)
from quire.planning.discover import discover
from quire.records import DocumentRef
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.storage import open_folder, open_object
from quire.storage.source_cache import SourceCache
from tests import documents
from tests.conftest import TestBucket, TestCloud, keys_of
from tests.rigs.fault_proxy import FaultProxy, FaultRates, fault_proxy, serving
from tests.rigs.object_server import Objects, serving_objects
from tests.rigs.web_server import WebHandler
from tests.runs import scripted_settings

BODY = random.Random(0).randbytes(400_000)
ANONYMOUS = StorageSettings(anonymous=True)
SHORT = StorageSettings(max_retries=1, retry_timeout_s=5)
_ENDPOINTS = {"gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}


@pytest.fixture(params=["gs", "az"])
def cloud(request: pytest.FixtureRequest) -> TestCloud:
    found: TestCloud = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def web() -> Iterator[Objects]:
    with serving_objects(WebHandler, Objects({"": {}})) as objects:
        yield objects


@pytest.fixture
def cache(tmp_path: Path) -> SourceCache:
    return SourceCache(tmp_path / "cache", 10**8, StorageSettings())


# Buckets


def test_faults_change_nothing(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cloud.put("in/large.pdf", BODY)
    faults = FaultRates(slow_down=0.04, reset=0.08, cut_body=0.1, lost_answer=0.15)
    with fault_proxy(cloud.objects.port, faults, seed=1, burst_length=1) as proxy:
        monkeypatch.setenv(_ENDPOINTS[cloud.scheme], proxy.url)
        folder = cloud.folder("in")
        for index in range(12):
            folder.put(f"put/{index}", BODY[:index])
            folder.put_if_absent(f"create/{index}", b"first")
            assert not folder.put_if_absent(f"create/{index}", b"second")
            assert folder.download("large.pdf", tmp_path / "copy").sha256 == hashlib.sha256(BODY).hexdigest()
        assert len(keys_of(folder)) == 1 + 2 * 12
        folder.delete("put/0")
        assert {"slow_down", "reset", "cut_body", "lost_answer"} <= set(proxy.counts), proxy.counts
    objects = cloud.objects.containers[cloud.name]
    assert {key: stored.data for key, stored in objects.items() if key.startswith("in/create")} == {
        f"in/create/{index}": b"first" for index in range(12)
    }


def test_a_listing_goes_on_where_it_was_cut(cloud: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{number:03}.pdf" for number in range(20)]
    for key in keys:
        cloud.put(key)
    with fault_proxy(cloud.objects.port, FaultRates(reset=0.5), seed=3) as proxy:
        monkeypatch.setenv(_ENDPOINTS[cloud.scheme], proxy.url)
        listed = keys_of(cloud.folder(settings=StorageSettings(max_retries=40, retry_timeout_s=60)))
    assert listed == keys
    assert proxy.counts["reset"] > 3


def test_objects_that_stand_for_directories_are_no_documents(cloud: TestCloud) -> None:
    for key, data in (("in/", b""), ("in/a/", b""), ("in/a/b.pdf", b"x"), ("in/a-b.pdf", b"x"), ("in/c.pdf", b"")):
        cloud.put(key, data)
    assert keys_of(cloud.folder("in")) == ["a-b.pdf", "a/b.pdf", "c.pdf"]


def test_a_name_that_cannot_be_asked_for_is_reported(cloud: TestCloud, tmp_path: Path) -> None:
    cloud.put("in//b.pdf")
    for operation in (
        lambda: keys_of(cloud.folder("in")),
        lambda: cloud.folder().info("in//b.pdf"),
        lambda: cloud.folder().download("in//b.pdf", tmp_path / "copy"),
    ):
        with pytest.raises(StorageError, match=r"cannot .* empty parts.*are read from S3 only"):
            operation()


def test_a_bucket_that_does_not_exist_is_named(cloud: TestCloud) -> None:
    folder = open_folder(f"{cloud.scheme}://no-such-one/in", StorageSettings())
    for operation in (lambda: folder.get("a"), lambda: folder.put("a", b""), lambda: keys_of(folder)):
        with pytest.raises(NotFound, match="no-such-one.*does not exist; check its name"):
            operation()


def test_anonymous_means_the_same_for_all(cloud: TestCloud) -> None:
    cloud.put("a.pdf")
    for operation in (lambda folder: folder.get("a.pdf"), keys_of):
        with pytest.raises((CredentialsRefused, PermissionDenied)):
            operation(cloud.folder(settings=ANONYMOUS))
    cloud.objects.public.add(cloud.name)
    assert keys_of(cloud.folder(settings=ANONYMOUS)) == ["a.pdf"]
    assert cloud.folder(settings=ANONYMOUS).get("a.pdf") == b"x"


def test_without_google_credentials_it_is_said_how_to_give_them(
    gs: TestCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOOGLE_BEARER_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.setenv(variable, "127.0.0.1:9")
    with pytest.raises(CredentialsRefused, match="no Google credentials found; .*give --anonymous"):
        gs.folder(settings=SHORT).get("a")


def test_without_azure_credentials_it_is_said_how_to_give_them(
    az: TestCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", "http://127.0.0.1:9/metadata/identity/oauth2/token")
    with pytest.raises(CredentialsRefused, match="no Azure credentials found; .*give --anonymous"):
        az.folder(settings=SHORT).get("a")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    with pytest.raises(StoreMisconfigured, match="AZURE_STORAGE_ACCOUNT_NAME"):
        open_folder("az://another", StorageSettings()).get("a")


def test_googles_own_variable_names_an_emulator(gs: TestCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_BEARER_TOKEN")
    monkeypatch.delenv("GOOGLE_BASE_URL")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs.objects.url.removeprefix("http://"))
    gs.objects.public.add(gs.name)
    gs.put("a.pdf")
    assert keys_of(gs.folder(settings=ANONYMOUS)) == ["a.pdf"]


def test_whoever_waits_for_a_store_is_told(
    cloud: TestCloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the first try that failed, which is several of obstore's."""
    monkeypatch.setenv(_ENDPOINTS[cloud.scheme], "http://127.0.0.1:9")
    with pytest.raises(
        StorageError, match=r"the connection failed .*check the network and the endpoint http://127"
    ):
        cloud.folder(settings=SHORT).get("a")
    (message,) = caplog.messages
    assert "Trying again for 5 s at most" in message


# What has changed


def test_what_changed_since_it_was_listed_is_not_taken_for_it(cloud: TestCloud, cache: SourceCache) -> None:
    cloud.put("in/a.pdf", BODY)
    (ref,) = discover([f"{cloud.uri}/in"], StorageSettings())
    cloud.put("in/a.pdf", BODY[::-1])
    with pytest.raises(SourceChanged, match="has changed since it was listed; run again"):
        cache.fetch_new(ref)
    (ref,) = discover([f"{cloud.uri}/in"], StorageSettings())
    found = cache.fetch_new(ref)
    cloud.put("in/a.pdf", BODY)
    cache.directory.joinpath(found.doc_id).unlink()
    with pytest.raises(SourceChanged, match="plan again"):
        cache.fetch(ref.uri, found.doc_id, found.size_bytes)


class ChangesWhenCut(FaultProxy):
    """Cuts the first body in half, and changes the document before anything else is asked."""

    objects: Objects
    place: tuple[str, str]

    def choose(self, method: str) -> str:
        if method == "GET" and not self.counts["cut_body"]:
            return "cut_body"
        if method == "GET":
            self.objects.put(*self.place, BODY[::-1])
        return "passed"


@pytest.mark.parametrize("kind", ["gs", "az", "web", "web, weak"])
def test_the_halves_of_two_versions_are_not_put_together(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = "weak/cut.pdf" if kind == "web, weak" else "cut.pdf"
    objects, place = request.getfixturevalue("web"), ("", f"/{path}")
    if kind in _ENDPOINTS:
        cloud: TestCloud = request.getfixturevalue(kind)
        objects, place = cloud.objects, (cloud.name, "cut.pdf")
    objects.put(*place, BODY)
    proxy = ChangesWhenCut(objects.port, FaultRates())
    proxy.objects, proxy.place = objects, place
    with serving(proxy.serve) as (url, _):
        if kind in _ENDPOINTS:
            monkeypatch.setenv(_ENDPOINTS[kind], url)
        folder, key = open_object(f"{kind}://{place[0]}/{path}" if kind in _ENDPOINTS else f"{url}/{path}", SHORT)
        try:
            sha256 = folder.download(key, tmp_path / "copy").sha256
        except StorageError:
            sha256 = ""
    assert proxy.counts["cut_body"] == 1
    assert sha256 in ("", hashlib.sha256(BODY[::-1]).hexdigest())


# The web


def test_a_document_on_a_web_server_is_read(web: Objects, cache: SourceCache) -> None:
    web.put("", "/in/a b%.pdf", BODY)
    uri = f"{web.url}/in/a%20b%25.pdf"
    (ref,) = discover([uri], StorageSettings())
    assert (ref.uri, ref.name, ref.size_bytes) == (uri, "a b%.pdf", len(BODY))
    found = cache.fetch_new(ref)
    assert found.path.read_bytes() == BODY
    assert cache.fetch(uri, found.doc_id, found.size_bytes).path.read_bytes() == BODY


def test_without_an_etag_it_is_the_time_and_then_the_size(
    web: Objects, cache: SourceCache, caplog: pytest.LogCaptureFixture
) -> None:
    for kind, etag in (("no-etag", "20231114T221320Z-3"), ("nameless", "size-3"), ("no-head", "")):
        web.put("", f"/{kind}/a.pdf", b"abc")
        (ref,) = discover([f"{web.url}/{kind}/a.pdf"], StorageSettings())
        assert ref.etag == (etag or str(web.version))
        assert cache.fetch_new(ref).size_bytes == 3
    assert "neither ETag nor Last-Modified" in "".join(caplog.messages)


def test_what_does_not_say_how_long_it_is_is_not_read(web: Objects, cache: SourceCache) -> None:
    web.put("", "/endless/a.pdf", b"%PDF")
    with pytest.raises(Unreadable, match="no Content-Length: the server does not say how long it is"):
        list(discover([f"{web.url}/endless/a.pdf"], StorageSettings()))
    with pytest.raises(Unreadable, match="does not say how long it is"):
        cache.fetch_new(DocumentRef(f"{web.url}/endless/a.pdf", "", -1, "a.pdf"))


def test_what_is_announced_too_large_is_not_fetched(web: Objects, cache: SourceCache) -> None:
    """Also where looking it up had told no size."""
    web.put("", "/large.pdf", BODY)
    with pytest.raises(TooLarge, match=r"plan\.max_document_mb"):
        cache.fetch_new(DocumentRef(f"{web.url}/large.pdf", "", -1, "large.pdf"), most_bytes=1000)


def test_redirects_are_followed(web: Objects) -> None:
    web.put("", "/there.pdf", b"abc")
    (ref,) = discover([f"{web.url}/moved/there.pdf"], StorageSettings())
    assert (ref.uri, ref.size_bytes) == (f"{web.url}/moved/there.pdf", 3)


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("absent.pdf", NothingThere, "404 Not Found: there is no such document"),
        ("closed/a.pdf", PermissionDenied, "403 Forbidden: the server does not give it to everybody"),
        ("in/*.pdf", NothingThere, "404 Not Found"),
        ("a.pdf?signature=1", ConfigError, "a URL with a query is not read"),
    ],
)
def test_what_a_web_server_does_not_give_is_said(
    web: Objects, path: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        list(discover([f"{web.url}/{path}"], StorageSettings()))


def test_a_web_server_is_neither_listed_nor_written_to(web: Objects) -> None:
    folder = open_folder(f"{web.url}/out", StorageSettings())
    with pytest.raises(StorageError, match=r"named one by one.*@list\.txt"):
        keys_of(folder)
    for operation in (folder.put, folder.put_if_absent):
        with pytest.raises(StorageError, match="web servers are read from only"):
            operation("a", b"x")


def test_a_manifest_mixes_all_kinds(
    web: Objects, gs: TestCloud, az: TestCloud, moto_bucket: TestBucket, tmp_path: Path
) -> None:
    local = tmp_path / "l.pdf"
    local.write_bytes(b"local")
    web.put("", "/w.pdf", b"web")
    for bucket, key in ((gs, "g.pdf"), (az, "a.pdf"), (moto_bucket, "s.pdf")):
        bucket.put(key, key.encode())
    spelled = f"abfss://{az.name}/a.pdf"
    signed = f"{web.url}/w.pdf?sig=secret"
    uris = [str(local), f"{web.url}/w.pdf", f"{gs.uri}/g.pdf", spelled, f"{moto_bucket.uri}/s.pdf", signed]
    manifest = tmp_path / "list.txt"
    manifest.write_text("\n".join(uris))
    settings = replace(moto_bucket.settings)
    refs = list(discover([f"@{manifest}"], settings))
    assert [ref.uri for ref in refs[:-1]] == [*uris[:3], f"{az.uri}/a.pdf", uris[4]]
    assert refs[1].name == web.url.removeprefix("http://") + "/w.pdf"
    cache = SourceCache(tmp_path / "cache", 10**8, settings)
    bodies = [cache.fetch_new(ref).path.read_bytes() for ref in refs[:-1]]
    assert bodies == [b"local", b"web", b"g.pdf", b"a.pdf", b"s.pdf"]
    assert "secret" not in refs[-1].uri
    with pytest.raises(NotFound, match="a URL with a query is not read"):
        cache.fetch_new(refs[-1])


async def test_a_run_from_all_kinds_of_places_into_a_cloud(
    web: Objects,
    gs: TestCloud,
    az: TestCloud,
    cloud: TestCloud,
    moto_bucket: TestBucket,
    tmp_path: Path,
) -> None:
    """Planned, converted, finished, and done again without anything left to do."""
    texts = {name: documents.pdf([name]) for name in ("local", "web", "google", "azure", "amazon")}
    (tmp_path / "l.pdf").write_bytes(texts["local"])
    web.put("", "/w.pdf", texts["web"])
    gs.put("in/g.pdf", texts["google"])
    az.put("in/a.pdf", texts["azure"])
    moto_bucket.put("s.pdf", texts["amazon"])
    uris = [str(tmp_path / "l.pdf"), f"{web.url}/w.pdf", f"{gs.uri}/in/g.pdf", f"{az.uri}/in/a.pdf"]
    (tmp_path / "list.txt").write_text("\n".join([*uris, f"{moto_bucket.uri}/s.pdf"]))
    settings = scripted_settings(tmp_path)
    settings = replace(settings, storage=moto_bucket.settings)
    inputs = Inputs((), (str(tmp_path / "list.txt"),), f"{cloud.uri}/out")
    account = await convert(inputs, settings)
    assert account.documents == {"ok": 5} and account.pages == {"ocr": 5}
    results = Run(cloud.folder("out", settings.storage))
    assert sorted(Path(row["source_uri"]).name for row in results.documents) == [
        "a.pdf",
        "g.pdf",
        "l.pdf",
        "s.pdf",
        "w.pdf",
    ]
    assert len(list(cloud.folder("out").list("markdown/"))) == 5
    again = await convert(inputs, settings)
    assert again == account
