"""A real object store: the contract of every store, long listings, races for one key with answers lost, two whole runs
at once, credentials that it checks, and its death.

The tests of the contract are those that run with moto, too.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quire.config.sections import StorageSettings
from quire.errors import CredentialsRefused, PermissionDenied
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.storage import Folder, open_folder
from tests.conftest import TestBucket, keys_of
from tests.rigs.fault_proxy import fault_proxy
from tests.rigs.radosgw import RadosGateway
from tests.runs import all_pages, command, page_keys, read_table, results, set_options
from tests.storage.test_faults import FAULTS
from tests.storage.test_faulty_store import RUN, settings_for, upload
from tests.storage.test_s3 import *  # noqa: F403
from tests.storage.test_storage import *  # noqa: F403
from tests.waiting import wait_for_end


@pytest.fixture
def s3(rados_bucket: TestBucket) -> TestBucket:
    return rados_bucket


@pytest.fixture
def folder(s3: TestBucket) -> Folder:
    return s3.folder("a/folder")


def test_more_keys_than_a_page_holds(s3: TestBucket) -> None:
    folder = s3.folder("in")
    keys = [f"{index:05d}" for index in range(1010)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: folder.put(key, b"x"), keys))
    assert keys_of(folder) == keys


def test_one_winner_at_most_when_answers_are_lost(s3: TestBucket) -> None:
    with fault_proxy(s3.endpoint.port, FAULTS, seed=2) as proxy:
        folder = open_folder(f"{s3.uri}/out", s3.through(proxy.url))
        for round_index in range(5):
            key = f"shard={round_index}"
            with ThreadPoolExecutor(16) as pool:
                bodies = [str(writer).encode() * 1000 for writer in range(16)]
                answers = list(pool.map(lambda body, key=key: folder.put_if_absent(key, body), bodies))
            assert answers.count(True) <= 1
            stored = folder.get(key)
            assert stored in bodies
            assert not any(answers) or stored == bodies[answers.index(True)]


def test_two_runs_at_once_on_one_output(s3: TestBucket, tmp_path: Path) -> None:
    pages = upload(s3, tmp_path / "in")
    asyncio.run(
        convert(Inputs((f"{s3.uri}/in",), (), f"{s3.uri}/alone"), settings_for(s3, tmp_path), use_ray=False)
    )
    options = set_options((*RUN, "scripted.seconds_per_page=0.05", f"flow.cache_dir={tmp_path / 'cache'}"))
    arguments = ["convert", f"{s3.uri}/in", "--output", f"{s3.uri}/together", *options]
    arguments += ["--endpoint-url", s3.endpoint.url]
    runs = [subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [wait_for_end(run, bound_s=200)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
    assert results(s3.folder("together")) == results(s3.folder("alone"))
    assert page_keys(read_table(s3.folder("together"), "pages")) == all_pages(pages)


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_refused_with_a_remedy(
    rados_bucket: TestBucket, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "wrong-and-secret")
    folder = rados_bucket.folder()
    for operation in (lambda: folder.get("a"), lambda: folder.put("a", b""), lambda: keys_of(folder)):
        with pytest.raises(CredentialsRefused, match="check the credentials") as caught:
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
