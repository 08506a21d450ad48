"""Buckets: keys that obstore does not take, many keys, and what a person is told."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore import exceptions
from obstore.store import MemoryStore

from quire.config.sections import StorageSettings
from quire.errors import CredentialsRefused, NotFound, StorageError
from quire.storage import open_folder, open_object
from quire.storage.local import TEMPORARY_PREFIX
from quire.storage.obstore_bucket import is_plain_key
from quire.storage.s3_client import bucket_endpoint, uses_path_style
from quire.storage.store_errors import OBSTORE_ERRORS
from tests.conftest import TestBucket, keys_of

AWKWARD_KEYS = [
    "a//b.pdf",
    "a/../b.pdf",
    "a/./b.pdf",
    "..",
    "../up.pdf",
    "./here.pdf",
    "trailing/.",
    "/leading.pdf",
    "leading.pdf",
    "folder/not-empty/",
    "with space.pdf",
    " around ",
    "p%41ercent.pdf",
    "pAercent.pdf",
    "p%2Fercent.pdf",
    "hash#1.pdf",
    "question?x=1.pdf",
    "star*[x]{y}.pdf",
    "plus+and&equals=.pdf",
    "back\\slash.pdf",
    "quotes'\"`.pdf",
    "<xml>&amp;.pdf",
    "tab\t.pdf",
    "bell\x07.pdf",
    "delete\x7f.pdf",
    "ünïcödé.pdf",
    "u\u0308 combining.pdf",
    "文書.pdf",
    "emoji😀.pdf",
    "Case.pdf",
    "case.pdf",
    TEMPORARY_PREFIX + "is-a-name-like-any-other",
]


def test_every_key_is_listed_exactly_and_can_be_read(s3: TestBucket, tmp_path: Path) -> None:
    keys = list(AWKWARD_KEYS)
    if "127.0.0.1" in s3.endpoint.url and s3.endpoint.access_key.startswith("rados"):
        keys += ["new\nline.pdf", "carriage\rreturn.pdf"]  # moto answers 404 to these
    for key in keys:
        s3.put(key, key.encode())
    for marker in ("folder/", "folder/deeper/"):
        s3.put(marker, b"")
    root = s3.folder()
    listed = list(root.list())
    assert [info.key for info in listed] == sorted(keys, key=str.encode)
    for info in listed:
        assert root.info(info.key) == info
        assert root.get(info.key) == info.key.encode()
        found, key = open_object(info.uri, s3.settings)
        assert found.download(key, tmp_path / "copy").sha256 == hashlib.sha256(info.key.encode()).hexdigest()


def test_a_folder_may_have_an_awkward_name_of_its_own(s3: TestBucket) -> None:
    for key in ("a//b.pdf", "a//../c.pdf", "a/b.pdf"):
        s3.put(key, key.encode())
    assert keys_of(s3.folder("a")) == ["/../c.pdf", "/b.pdf", "b.pdf"]
    assert keys_of(s3.folder("a//")) == ["../c.pdf", "b.pdf"]
    assert open_folder(s3.folder("a//").uri, s3.settings) == s3.folder("a//")


def test_results_are_not_written_under_awkward_names(moto_bucket: TestBucket) -> None:
    folder = moto_bucket.folder("out")
    for key in ("a//b", "../b", "/b", "b/", "b\n", "b\udcff", ""):
        for write in (folder.put, folder.put_if_absent):
            with pytest.raises(StorageError, match="choose another output folder"):
                write(key, b"x")
    assert keys_of(moto_bucket.folder()) == []


@given(st.text(alphabet=st.one_of(st.sampled_from("./a%\x00\t\x7f \\\x85"), st.characters()), max_size=8))
def test_plain_keys_are_those_that_obstore_keeps_as_they_are(key: str) -> None:
    store = MemoryStore()
    try:
        store.put(key, b"x")
        kept = [item["path"] for items in store.list() for item in items] == [key]
    except (ValueError, exceptions.BaseError):
        kept = False
    assert is_plain_key(key) == kept


@pytest.mark.parametrize("key", ["a\udcff", "\ud800"])
def test_what_can_be_no_key_is_not_found(s3: TestBucket, tmp_path: Path, key: str) -> None:
    folder = s3.folder()
    for operation in (folder.get, folder.info, lambda key: folder.download(key, tmp_path / "copy")):
        with pytest.raises(NotFound, match="no S3 key can have this name") as caught:
            operation(key)
        assert str(caught.value).encode()


# Messages


def test_every_error_of_obstore_is_mapped() -> None:
    theirs = {getattr(exceptions, name) for name in dir(exceptions) if name.endswith("Error")}
    assert theirs <= set(OBSTORE_ERRORS)


def test_a_bucket_that_does_not_exist_is_named(s3: TestBucket) -> None:
    folder = open_folder("s3://no-such-bucket-here/in", s3.settings)
    for operation in (lambda: folder.get("a"), lambda: folder.put("a", b""), lambda: keys_of(folder)):
        with pytest.raises(NotFound, match="no-such-bucket-here.*NoSuchBucket.*check its name"):
            operation()


def test_without_credentials_the_message_says_how_to_give_them(
    moto_bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsRefused, match="no AWS credentials found; set AWS_PROFILE"):
        moto_bucket.folder().get("a")


def test_an_unknown_profile_is_named(moto_bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(StorageError, match="no-such-profile"):
        moto_bucket.folder().get("a")


def test_the_endpoint_may_come_from_the_environment(
    moto_bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_bucket.endpoint.url)
    folder = open_folder(moto_bucket.uri, StorageSettings())
    folder.put("a", b"x")
    assert keys_of(folder) == ["a"]


def test_what_is_no_endpoint_is_reported(moto_bucket: TestBucket) -> None:
    with pytest.raises(StorageError, match="not-a-url"):
        open_folder(moto_bucket.uri, StorageSettings(endpoint_url="not-a-url")).get("a")


@pytest.mark.parametrize(
    ("endpoint_url", "path_style", "expected"),
    [
        ("https://s3.eu-west-1.amazonaws.com", None, "https://scans.s3.eu-west-1.amazonaws.com"),
        ("https://s3.cn-north-1.amazonaws.com.cn", None, "https://scans.s3.cn-north-1.amazonaws.com.cn"),
        ("https://s3.eu-west-1.amazonaws.com", True, "https://s3.eu-west-1.amazonaws.com"),
        ("https://minio.example.org:9000", None, "https://minio.example.org:9000"),
        ("https://store.example.org", False, "https://scans.store.example.org"),
    ],
)
def test_where_requests_for_a_bucket_go(endpoint_url: str, path_style: bool | None, expected: str) -> None:
    is_path_style = uses_path_style(endpoint_url, StorageSettings(path_style=path_style))
    assert bucket_endpoint("scans", endpoint_url, is_path_style) == expected
