"""What every folder promises, over local files, S3 (moto or radosgw), Google and Azure; and how objects are named."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.config.sections import StorageSettings
from quire.errors import ConfigError, NotFound, StorageError
from quire.storage import Downloaded, Folder, open_folder, open_object
from quire.storage.uris import canonical_uri, local_path, local_uri, split_uri, storable_name
from tests.conftest import TestBucket, TestCloud, keys_of

LARGE = random.Random(0).randbytes(3_000_000)


@pytest.fixture(params=["local", "s3", "gs", "az"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """An empty folder in each kind of store."""
    if request.param == "local":
        return open_folder(str(tmp_path / "folder"), StorageSettings())
    if request.param == "s3":
        bucket: TestBucket = request.getfixturevalue("s3")
        return bucket.folder("a/folder")
    cloud: TestCloud = request.getfixturevalue(request.param)
    return cloud.folder("a/folder")


def test_what_is_put_comes_back(folder: Folder, tmp_path: Path) -> None:
    folder.put("pages/shard=1.parquet", b"one")
    folder.put("pages/shard=1.parquet", LARGE)
    assert folder.get("pages/shard=1.parquet") == LARGE
    assert folder.exists("pages/shard=1.parquet")
    sha256 = hashlib.sha256(LARGE).hexdigest()
    etag = folder.info("pages/shard=1.parquet").etag
    assert folder.download("pages/shard=1.parquet", tmp_path / "copy") == Downloaded(sha256, len(LARGE), etag)
    assert (tmp_path / "copy").read_bytes() == LARGE


def test_an_empty_object_is_an_object(folder: Folder, tmp_path: Path) -> None:
    folder.put("empty", b"")
    assert folder.get("empty") == b""
    assert folder.download("empty", tmp_path / "copy").sha256 == hashlib.sha256().hexdigest()
    assert [(info.key, info.size_bytes) for info in folder.list()] == [("empty", 0)]


def test_listings_are_in_the_order_of_bytes_and_describe_what_info_describes(folder: Folder) -> None:
    keys = ["b", "a/c", "a-b", "a.b", "a/b/c", "a0", "A", "é", "z", "ab/c", "文", "😀", "\uffee"]
    for key in keys:
        folder.put(key, key.encode())
    listed = list(folder.list())
    assert [info.key for info in listed] == sorted(keys, key=str.encode)
    assert [folder.info(info.key) for info in listed] == listed
    assert all(info.etag and '"' not in info.etag for info in listed)
    assert all(info.size_bytes == len(info.key.encode()) for info in listed)


def test_a_prefix_is_of_characters_and_not_of_folders(folder: Folder) -> None:
    for key in ["pages/shard=1", "pages/shard=12", "pages/other", "pagesx", "documents/1"]:
        folder.put(key, b"x")
    assert keys_of(folder, "pages/shard=1") == ["pages/shard=1", "pages/shard=12"]
    assert keys_of(folder, "pages/") == ["pages/other", "pages/shard=1", "pages/shard=12"]
    assert keys_of(folder.child("pages"), "s") == ["shard=1", "shard=12"]
    assert keys_of(folder, "absent/") == []


def test_an_absent_folder_is_empty(folder: Folder) -> None:
    assert keys_of(folder.child("absent")) == []


def test_absent_objects_are_not_found_and_named(folder: Folder, tmp_path: Path) -> None:
    assert not folder.exists("absent.pdf")
    for operation in (folder.get, folder.info, lambda key: folder.download(key, tmp_path / "copy")):
        with pytest.raises(NotFound, match=r"absent\.pdf"):
            operation("absent.pdf")
    folder.delete("absent.pdf")


def test_deleted_objects_are_gone(folder: Folder) -> None:
    folder.put("a/b", b"x")
    folder.delete("a/b")
    assert keys_of(folder) == []


def test_an_object_opens_by_its_uri_and_a_folder_by_its_own(
    folder: Folder, request: pytest.FixtureRequest
) -> None:
    folder.put("in/a b%41#?.pdf", b"x")
    (info,) = folder.list("in/")
    settings = getattr(folder, "settings", StorageSettings())
    found, key = open_object(info.uri, settings)
    assert found.get(key) == b"x"
    assert found.info(key).uri == info.uri
    assert open_folder(folder.uri, settings) == folder
    assert pickle.loads(pickle.dumps(folder)) == folder  # noqa: S301


def test_etags_change_with_the_object(folder: Folder) -> None:
    folder.put("a", b"one")
    before = folder.info("a").etag
    folder.put("a", b"two")
    assert folder.info("a").etag != before


def test_put_if_absent_writes_once(folder: Folder) -> None:
    assert folder.put_if_absent("a/b", b"first")
    assert not folder.put_if_absent("a/b", b"second")
    assert folder.get("a/b") == b"first"


def test_one_of_sixteen_writers_wins(folder: Folder) -> None:
    for round_index in range(5):
        key = f"pages/shard={round_index}"
        with ThreadPoolExecutor(16) as pool:
            bodies = [str(writer).encode() * 50_000 for writer in range(16)]
            answers = list(pool.map(lambda body, key=key: folder.put_if_absent(key, body), bodies))
        assert answers.count(True) == 1
        assert folder.get(key) == bodies[answers.index(True)]


def test_a_destination_that_cannot_be_written_is_named(folder: Folder, tmp_path: Path) -> None:
    folder.put("a", b"x")
    with pytest.raises(StorageError, match="no-such-directory"):
        folder.download("a", tmp_path / "no-such-directory" / "copy")


# Names


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "s3://no bucket/key", "/a/b", "bucket/key"])
def test_what_names_no_bucket_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="s3://bucket/key"):
        split_uri(uri)


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("s3:/bucket/x", "s3://bucket/x"),
        ("gs:/bucket/x", "gs://bucket/x"),
        ("https:/host/x", "https://host/x"),
        ("file:/data/a.pdf", "file:///data/a.pdf"),
    ],
)
def test_a_slash_too_few_is_named(uri: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"one slash too few: write {remedy}"):
        open_folder(uri, StorageSettings())


@pytest.mark.parametrize("uri", ["file://host/a", "file://"])
def test_what_names_no_local_file_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="file:///absolute/path"):
        open_folder(uri, StorageSettings())


def test_of_other_schemes_it_is_said_what_is_read() -> None:
    with pytest.raises(
        ConfigError, match="s3://bucket/key, gs://bucket/key, az://container/key, https://host/path"
    ):
        open_folder("ftp://host/a.pdf", StorageSettings())


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("https://host/a.pdf?X-Amz-Signature=1", "a URL with a query is not read"),
        ("https://me:secret@host/a.pdf", "a user or a password is not read"),
        ("https://host/a.pdf#page=2", "leave out the #"),
        ("https:///a.pdf", "names no host"),
        ("abfss://scans@account.dfs.core.windows.net/a.pdf", "write az://scans/a.pdf.*AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_what_results_may_not_hold_is_refused(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        open_object(uri, StorageSettings())
    assert "Signature" not in str(caught.value) and "secret" not in str(caught.value)


def test_other_spellings_become_one() -> None:
    assert (
        canonical_uri("abfss://scans/in/a.pdf") == canonical_uri("abfs://scans/in/a.pdf") == "az://scans/in/a.pdf"
    )


@given(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name))
def test_local_uris_lead_back_and_can_be_stored(name: bytes) -> None:
    path = os.path.abspath(os.path.join("/data", os.fsdecode(name)))
    uri = local_uri(path)
    assert local_path(uri) == path
    assert uri.encode().decode() == uri
    assert storable_name(path).encode()
