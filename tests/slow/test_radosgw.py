"""A real object store: the contract of every store, races for one key with answers lost, two whole runs at once,
credentials that it checks, and its death.

What is imported from elsewhere runs here with a real store for moto.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.config import StorageSettings
from pipeline.errors import PermissionDenied
from pipeline.storage import Folder, open_folder
from tests.conftest import TestBucket, keys_of
from tests.rigs.radosgw import RadosGateway
from tests.test_faulty_store import test_two_runs_at_once_on_one_output  # noqa: F401
from tests.test_storage import *  # noqa: F403
from tests.test_storage_faults import test_one_winner_at_most_when_answers_are_lost  # noqa: F401
from tests.test_storage_s3 import *  # noqa: F403


@pytest.fixture
def s3(rados_bucket: TestBucket) -> TestBucket:
    return rados_bucket


@pytest.fixture
def folder(s3: TestBucket) -> Folder:
    return s3.folder("a/folder")


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_refused_with_a_remedy(
    rados_bucket: TestBucket, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "wrong-and-secret")
    folder = rados_bucket.folder()
    for operation in (lambda: folder.get("a"), lambda: folder.put("a", b""), lambda: keys_of(folder)):
        with pytest.raises(PermissionDenied, match="check the credentials") as caught:
            operation()
        assert "wrong-and-secret" not in str(caught.value)


def test_anonymous_access_reads_what_is_public(rados_bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    rados_bucket.client.put_bucket_acl(Bucket=rados_bucket.name, ACL="public-read")
    rados_bucket.client.put_object(Bucket=rados_bucket.name, Key="a//b", Body=b"x", ACL="public-read")
    rados_bucket.client.put_object(Bucket=rados_bucket.name, Key="a/b", Body=b"x", ACL="public-read")
    rados_bucket.put("private", b"x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    settings = StorageSettings(endpoint_url=rados_bucket.endpoint.url, anonymous=True)
    folder = open_folder(rados_bucket.uri, settings)
    assert keys_of(folder) == ["a//b", "a/b", "private"]
    assert folder.get("a//b") == folder.get("a/b") == b"x"
    with pytest.raises(PermissionDenied):
        folder.get("private")


def test_a_store_killed_during_writes_has_each_object_whole_or_not(
    rados_bucket: TestBucket, shared_gateway: RadosGateway
) -> None:
    folder = rados_bucket.folder("out")
    bodies = {f"shard={index}": random.Random(index).randbytes(1_000_000) for index in range(60)}
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(folder.put_if_absent, key, body) for key, body in bodies.items()]
        writing[10].result()
        shared_gateway.kill()
        shared_gateway.start()
        for future in writing:
            future.result()
    assert {key: folder.get(key) for key in keys_of(folder)} == bodies
