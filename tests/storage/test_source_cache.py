"""The source cache: verified bytes, one download, eviction, several processes, sources that changed."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from quire.config.sections import StorageSettings
from quire.errors import NotFound, SourceChanged, StorageError
from quire.planning.discover import discover, read_manifest
from quire.records import DocumentRef, PageRange
from quire.storage.eviction import evict
from quire.storage.fetcher import Fetcher
from quire.storage.local import TEMPORARY_PREFIX
from quire.storage.source_cache import SourceCache, SourceFile
from tests.conftest import TestBucket
from tests.rigs.fault_proxy import FaultRates, fault_proxy
from tests.rigs.holding_proxy import Hold, holding_proxy
from tests.waiting import wait_in_loop

SETTINGS = StorageSettings()


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def cached_names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {"locks"}


# Local sources


def test_local_documents_are_used_in_place(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"one")
    cache = SourceCache(tmp_path / "cache", 10**6, SETTINGS)
    assert cache.fetch(str(tmp_path / "a.pdf"), sha256_of(b"one"), 3).path == tmp_path / "a.pdf"
    assert not (tmp_path / "cache").exists()


def test_a_local_document_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"one")
    cache = SourceCache(tmp_path / "cache", 10**6, SETTINGS)
    cache.fetch(str(path), sha256_of(b"one"), 3)
    status = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(SourceChanged, match=r"a\.pdf has changed"):
        cache.fetch(str(path), sha256_of(b"one"), 3)
    path.unlink()
    with pytest.raises(NotFound, match=r"a\.pdf"):
        cache.fetch(str(path), sha256_of(b"one"), 3)


@pytest.mark.parametrize("kind", ["directory", "pipe", "dangling"])
def test_what_is_no_file_is_not_found(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.pdf"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    cache = SourceCache(tmp_path / "cache", 10**6, SETTINGS)
    with pytest.raises(NotFound):
        cache.fetch(str(path), sha256_of(b""), 0)
    with pytest.raises(NotFound):
        cache.fetch_new(DocumentRef(str(path), "", -1, "a.pdf"))


def test_local_documents_with_names_of_any_bytes(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"\xff\n%.pdf"), "wb") as file:
        file.write(b"one")
    (ref,) = discover([str(tmp_path)], SETTINGS)
    cache = SourceCache(tmp_path / "cache", 10**6, SETTINGS)
    found = cache.fetch_new(ref)
    assert (found.path.read_bytes(), found.doc_id, found.size_bytes) == (b"one", sha256_of(b"one"), 3)
    assert cache.fetch(ref.uri, found.doc_id, 3) == found


# Remote sources


@pytest.mark.parametrize("key", ["in/a.pdf", "in//../a\x7f.pdf"])
def test_remote_documents_are_downloaded_once(s3: TestBucket, tmp_path: Path, key: str) -> None:
    s3.put(key, b"one")
    cache = SourceCache(tmp_path / "cache", 10**6, s3.settings)
    path = cache.fetch(f"{s3.uri}/{key}", sha256_of(b"one"), 3).path
    assert path.read_bytes() == b"one"
    s3.client.delete_object(Bucket=s3.name, Key="in/a.pdf")
    for again in (cache, SourceCache(tmp_path / "cache", 10**6, s3.settings)):
        assert again.fetch(f"{s3.uri}/{key}", sha256_of(b"one"), 3).path == path
    assert cached_names(tmp_path / "cache") == {sha256_of(b"one")}


def test_a_remote_document_that_changed_is_refused(moto_bucket: TestBucket, tmp_path: Path) -> None:
    moto_bucket.put("a.pdf", b"two")
    cache = SourceCache(tmp_path / "cache", 10**6, moto_bucket.settings)
    with pytest.raises(SourceChanged, match=r"a\.pdf has changed"):
        cache.fetch(f"{moto_bucket.uri}/a.pdf", sha256_of(b"one"), 3)
    with pytest.raises(NotFound, match=r"b\.pdf"):
        cache.fetch(f"{moto_bucket.uri}/b.pdf", sha256_of(b"one"), 3)
    assert cached_names(tmp_path / "cache") == set()


def test_a_new_document_is_fetched_and_named(moto_bucket: TestBucket, tmp_path: Path) -> None:
    moto_bucket.put("a.pdf", b"one")
    (ref,) = discover([f"{moto_bucket.uri}/a.pdf"], moto_bucket.settings)
    cache = SourceCache(tmp_path / "cache", 10**6, moto_bucket.settings)
    found = cache.fetch_new(ref)
    assert found.path.read_bytes() == b"one"
    assert (found.path.name, found.doc_id, found.size_bytes) == (found.doc_id, sha256_of(b"one"), 3)
    moto_bucket.client.delete_object(Bucket=moto_bucket.name, Key="a.pdf")
    assert cache.fetch(ref.uri, found.doc_id, 3) == found


def test_an_object_that_is_not_the_one_that_was_listed(moto_bucket: TestBucket, tmp_path: Path) -> None:
    moto_bucket.put("a.pdf", b"one")
    (ref,) = discover([f"{moto_bucket.uri}/a.pdf"], moto_bucket.settings)
    moto_bucket.put("a.pdf", b"two")
    with pytest.raises(SourceChanged, match=r"a\.pdf has changed since it was listed"):
        SourceCache(tmp_path / "cache", 10**6, moto_bucket.settings).fetch_new(ref)


def test_what_a_manifest_lists_in_vain_is_not_found(moto_bucket: TestBucket, tmp_path: Path) -> None:
    lines = [
        f"{moto_bucket.uri}/absent",
        "s3://no-such-bucket-here/a",
        "ftp://b/a",
        "/absent",
        "s3:///a",
    ]
    (tmp_path / "list").write_text("\n".join([*lines, str(tmp_path / "list")]))
    cache = SourceCache(tmp_path / "cache", 10**6, moto_bucket.settings)
    *refs, there = read_manifest(str(tmp_path / "list"), moto_bucket.settings)
    assert there.etag and len(refs) == len(lines)
    for ref in refs:
        with pytest.raises(NotFound):
            cache.fetch_new(ref)


def test_faults_change_nothing(moto_bucket: TestBucket, tmp_path: Path) -> None:
    bodies = [bytes([index]) * 300_000 for index in range(30)]
    for index, body in enumerate(bodies):
        moto_bucket.put(f"{index}.pdf", body)
    with fault_proxy(moto_bucket.endpoint.port, FaultRates(reset=0.2, cut_body=0.3), seed=3) as proxy:
        cache = SourceCache(tmp_path / "cache", 10**9, moto_bucket.through(proxy.url))
        for index, body in enumerate(bodies):
            path = cache.fetch(f"{moto_bucket.uri}/{index}.pdf", sha256_of(body), len(body)).path
            assert path.read_bytes() == body
        assert proxy.counts["cut_body"] > 2


def test_a_spoiled_file_is_fetched_again(moto_bucket: TestBucket, tmp_path: Path) -> None:
    moto_bucket.put("a.pdf", b"one")
    uri, doc_id = f"{moto_bucket.uri}/a.pdf", sha256_of(b"one")
    path = SourceCache(tmp_path / "cache", 10**6, moto_bucket.settings).fetch(uri, doc_id, 3).path
    for spoiled in (b"\0\0\0", b"on"):  # as a power cut may leave it
        path.write_bytes(spoiled)
        again = SourceCache(tmp_path / "cache", 10**6, moto_bucket.settings).fetch(uri, doc_id, 3)
        assert again.path.read_bytes() == b"one"


# At the same time


def test_concurrent_requests_make_one_download(moto_bucket: TestBucket, tmp_path: Path) -> None:
    body = b"x" * 2_000_000
    moto_bucket.put("a.pdf", body)
    with fault_proxy(moto_bucket.endpoint.port, FaultRates()) as proxy:
        cache = SourceCache(tmp_path / "cache", 10**9, moto_bucket.through(proxy.url))
        start = threading.Barrier(12)

        def fetch(_: int) -> Path:
            start.wait(timeout=60)
            return cache.fetch(f"{moto_bucket.uri}/a.pdf", sha256_of(body), len(body)).path

        with ThreadPoolExecutor(12) as pool:
            paths = set(pool.map(fetch, range(12)))
        assert proxy.counts["passed"] == 1
    assert paths == {tmp_path / "cache" / sha256_of(body)}


async def test_a_document_that_hangs_keeps_nobody_else_waiting(moto_bucket: TestBucket, tmp_path: Path) -> None:
    """All chunks of one document come at once; one thread waits for it, and the other one has the rest."""
    bodies = {name: name.encode() * 1000 for name in ("slow.pdf", "a.pdf", "b.pdf")}
    for name, body in bodies.items():
        moto_bucket.put(name, body)
    with holding_proxy(moto_bucket.endpoint.port, Hold(r"slow\.pdf")) as proxy:
        settings = replace(moto_bucket.through(proxy.url), max_retries=1, retry_timeout_s=1)
        fetcher = Fetcher(SourceCache(tmp_path / "cache", 10**9, settings), num_fetches=2)

        def fetch(name: str) -> asyncio.Task[SourceFile]:
            uri, body = f"{moto_bucket.uri}/{name}", bodies[name]
            source = PageRange(uri, "", len(body), sha256_of(body), "application/pdf", 256, 0, 16)
            return asyncio.create_task(fetcher.fetch(source))

        slow = [fetch("slow.pdf") for _ in range(16)]
        await wait_in_loop("the slow one to be asked for", lambda: proxy.held)
        for name in ("a.pdf", "b.pdf"):
            chunks = [fetch(name) for _ in range(16)]
            chunks.pop().cancel()  # is one of those who wait, and not the fetch
            assert {(await chunk).path.read_bytes() for chunk in chunks} == {bodies[name]}
        assert [request for request in proxy.requests if "slow" in request] == [proxy.held]
        assert not any(chunk.done() for chunk in slow)
        fetcher.close()
        for chunk in slow:
            chunk.cancel()


FETCHER = """
import sys
from pathlib import Path
from quire.config.sections import StorageSettings
from quire.storage.source_cache import SourceCache
directory, endpoint, bucket, *doc_ids = sys.argv[1:]
cache = SourceCache(Path(directory), 10**9, StorageSettings(endpoint_url=endpoint))
for index, doc_id in enumerate(doc_ids):
    path = cache.fetch(f"s3://{bucket}/{index}.pdf", doc_id, 200_000).path
    assert path.read_bytes() == bytes([index]) * 200_000
"""


def test_processes_share_a_directory(moto_bucket: TestBucket, tmp_path: Path) -> None:
    bodies = [bytes([index]) * 200_000 for index in range(20)]
    for index, body in enumerate(bodies):
        moto_bucket.put(f"{index}.pdf", body)
    with fault_proxy(moto_bucket.endpoint.port, FaultRates()) as proxy:
        arguments = [str(tmp_path / "cache"), proxy.url, moto_bucket.name, *map(sha256_of, bodies)]
        command = [sys.executable, "-W", "error", "-c", FETCHER, *arguments]
        processes = [subprocess.Popen(command) for _ in range(3)]
        assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
        assert proxy.counts["passed"] == len(bodies)
    assert cached_names(tmp_path / "cache") == set(map(sha256_of, bodies))


# Eviction


def test_the_cache_stays_within_its_size(moto_bucket: TestBucket, tmp_path: Path) -> None:
    bodies = [bytes([index]) * 10_000 for index in range(40)]
    for index, body in enumerate(bodies):
        moto_bucket.put(f"{index}.pdf", body)
    cache = SourceCache(tmp_path / "cache", 100_000, moto_bucket.settings)
    for index in range(len(bodies)):
        for wanted in (index, 0):  # the first is in use all the time
            data = bodies[wanted]
            path = cache.fetch(f"{moto_bucket.uri}/{wanted}.pdf", sha256_of(data), len(data)).path
            assert path.read_bytes() == data
        held = sum(path.stat().st_size for path in (tmp_path / "cache").iterdir() if path.is_file())
        assert held <= 100_000
    kept = cached_names(tmp_path / "cache")
    assert sha256_of(bodies[0]) in kept
    assert sha256_of(bodies[-1]) in kept
    assert sha256_of(bodies[1]) not in kept


def test_a_document_larger_than_the_cache_is_still_fetched(moto_bucket: TestBucket, tmp_path: Path) -> None:
    moto_bucket.put("large.pdf", b"x" * 5000)
    cache = SourceCache(tmp_path / "cache", 1000, moto_bucket.settings)
    assert cache.fetch(f"{moto_bucket.uri}/large.pdf", sha256_of(b"x" * 5000), 5000).path.stat().st_size == 5000


def test_an_evicted_document_is_fetched_again(moto_bucket: TestBucket, tmp_path: Path) -> None:
    moto_bucket.put("a.pdf", b"one")
    cache = SourceCache(tmp_path / "cache", 10**6, moto_bucket.settings)
    for _ in range(2):
        path = cache.fetch(f"{moto_bucket.uri}/a.pdf", sha256_of(b"one"), 3).path
        assert path.read_bytes() == b"one"
        evict(tmp_path / "cache", 0)
        assert not path.exists()


def test_downloads_under_way_stay_and_abandoned_ones_go(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}new").write_bytes(b"x" * 1000)
    (tmp_path / f"{TEMPORARY_PREFIX}old").write_bytes(b"x" * 1000)
    os.utime(tmp_path / f"{TEMPORARY_PREFIX}old", (time.time() - 10**6,) * 2)
    (tmp_path / ("ab" * 32)).write_bytes(b"x")
    long = tmp_path / f"{TEMPORARY_PREFIX}long"  # or of a process whose clock was set back since
    long.write_bytes(b"x" * 1000)
    os.utime(long, (time.time() - 10**6,) * 2)
    (tmp_path / "thesis.pdf").write_bytes(b"somebody chose this folder for the cache")
    with long.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        evict(tmp_path, 0)
    assert sorted(os.listdir(tmp_path)) == [f"{TEMPORARY_PREFIX}long", f"{TEMPORARY_PREFIX}new", "thesis.pdf"]
    evict(tmp_path / "absent", 0)


def test_a_directory_that_cannot_be_made_is_named(moto_bucket: TestBucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = SourceCache(tmp_path / "file" / "cache", 10**6, moto_bucket.settings)
    with pytest.raises(StorageError, match="file/cache"):
        cache.fetch(f"{moto_bucket.uri}/a.pdf", sha256_of(b""), 0)
