"""Stores that falter, stall and die change nothing of the result, or are reported."""

from __future__ import annotations

import asyncio
import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from quire.config.sections import PlanSettings, StorageSettings
from quire.errors import StorageError
from quire.nights.log import Night, commit_night
from quire.planning.plan import plan
from quire.records import Document, DocumentRef, DocumentStatus, Outcome, PageRange, PageResult, Shard
from quire.results.write import ShardWriter
from quire.storage import Folder, open_folder
from quire.storage.tries import wait_after
from quire.tables.schema import NIGHTS
from tests.conftest import TestBucket, keys_of
from tests.rigs.fault_proxy import FaultProxy, FaultRates, body_of, fault_proxy, serving, with_body

LARGE = random.Random(0).randbytes(1_500_000)
FAULTS = FaultRates(slow_down=0.03, reset=0.07, cut_body=0.07, lost_answer=0.12, conflict=0.12)


def test_faults_change_nothing(s3: TestBucket, tmp_path: Path) -> None:
    s3.put("in/large.pdf", LARGE)
    s3.put("in//awkward.pdf", LARGE)
    with fault_proxy(s3.endpoint.port, FAULTS, seed=1) as proxy:
        folder = open_folder(f"{s3.uri}/in", s3.through(proxy.url))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda index: _use(folder, index, tmp_path), range(24)))
        assert len(keys_of(folder)) == 2 + 2 * 24
        _assert_faults_happened(proxy)
    folder = s3.folder("in")
    for index in range(24):
        assert folder.get(f"put/{index}") == folder.get(f"create/{index}") == f"body {index}".encode() * 1000


def _use(folder: Folder, index: int, tmp_path: Path) -> None:
    body = f"body {index}".encode() * 1000
    folder.put(f"put/{index}", body)
    folder.put_if_absent(f"create/{index}", body)
    assert not folder.put_if_absent(f"create/{index}", b"another")
    assert folder.get("large.pdf") == LARGE
    for key in ("large.pdf", "/awkward.pdf"):
        got = folder.download(key, tmp_path / str(index))
        assert (got.sha256, got.size_bytes) == (hashlib.sha256(LARGE).hexdigest(), len(LARGE))
    assert {"large.pdf", "/awkward.pdf"} <= set(keys_of(folder))
    assert folder.exists("large.pdf")
    assert not folder.exists("absent")


def _assert_faults_happened(proxy: FaultProxy) -> None:
    """Each fault has a chance in 70 requests or more: at these rates one of them stays away once in 5,000 runs."""
    assert {"slow_down", "reset", "cut_body", "lost_answer", "conflict"} <= set(proxy.counts), proxy.counts


def test_a_store_that_never_recovers_is_reported(moto_bucket: TestBucket) -> None:
    with fault_proxy(moto_bucket.endpoint.port, FaultRates(slow_down=1.0)) as proxy:
        settings = StorageSettings(endpoint_url=proxy.url, max_retries=2, retry_timeout_s=5)
        folder = open_folder(moto_bucket.uri, settings)
        for operation in (
            lambda: folder.get("a"),
            lambda: folder.info("a"),
            lambda: folder.put("a", b""),
            lambda: keys_of(folder),
        ):
            with pytest.raises(StorageError, match=r"cannot [\w ]+ s3://.*SlowDown.*fewer workers"):
                operation()


def test_a_store_that_does_not_answer_is_reported(moto_bucket: TestBucket) -> None:
    settings = StorageSettings(endpoint_url="http://127.0.0.1:9", max_retries=1, retry_timeout_s=5)
    folder = open_folder(moto_bucket.uri, settings)
    for operation in (lambda: folder.get("a"), lambda: folder.put("a", b""), lambda: keys_of(folder)):
        with pytest.raises(StorageError, match=r"check the network and the endpoint http://127\.0\.0\.1:9"):
            operation()


class LosesFirstAnswers(FaultProxy):
    """Of each object that is written."""

    def choose(self, method: str) -> str:
        asked = [request for request, _ in self.requests]
        return "lost_answer" if method == "PUT" and asked.count(asked[-1]) == 1 else "passed"


def test_a_write_whose_answer_was_lost_is_ones_own(moto_bucket: TestBucket) -> None:
    """The second try hears that the name is taken, by the first one."""
    document = Document("/a.pdf", "1", 9, "ab" * 32, "application/pdf", 1, DocumentStatus.OK, output_name="a.pdf")
    source = PageRange("/a.pdf", "1", 9, document.doc_id, document.media_type, 1, 0, 1)
    page = PageResult(document.doc_id, "/a.pdf", "1", 0, 1, Outcome.OCR, "", markdown="A text")
    refs = [DocumentRef(f"/{number}.pdf", "1", 9, f"{number}.pdf") for number in range(2)]

    async def probe(ref: DocumentRef) -> Document:
        return replace(document, uri=ref.uri, doc_id=hashlib.sha256(ref.uri.encode()).hexdigest())

    async def sizes_of_parts(folder: Folder) -> list[int]:
        one_each = PlanSettings(documents_per_part=1)
        return [len(part) async for part in plan(folder, refs, probe, one_each, "fingerprint")]

    proxy = LosesFirstAnswers(moto_bucket.endpoint.port, FaultRates())
    with serving(proxy.serve) as (url, _):
        folder = open_folder(moto_bucket.uri, moto_bucket.through(url))
        assert asyncio.run(sizes_of_parts(folder)) == [1, 1]
        assert commit_night(folder, Night(1, NIGHTS.empty_table()))
        writer = ShardWriter(folder, {"config_fingerprint": "x"})
        assert writer.write(Shard("s", (source,), (document,)), [page], [])
        assert proxy.counts["lost_answer"] == 7
    assert keys_of(moto_bucket.folder(), "documents/") == ["documents/shard=s.parquet"]
    other = pa.Table.from_pylist([{"uri": "/a.pdf"}], schema=NIGHTS)
    assert not commit_night(moto_bucket.folder(), Night(1, other))


@pytest.mark.parametrize("key", ["a.pdf", "in//awkward.pdf"])
def test_a_body_that_drips_is_given_up(moto_bucket: TestBucket, tmp_path: Path, key: str) -> None:
    moto_bucket.put(key, bytes(3000))
    with fault_proxy(moto_bucket.endpoint.port, drip_s=0.002) as proxy:
        settings = StorageSettings(endpoint_url=proxy.url, max_retries=1, retry_timeout_s=0.6)
        with pytest.raises(StorageError, match="bytes came in"):
            open_folder(moto_bucket.uri, settings).download(key, tmp_path / "copy")


def test_a_store_that_is_away_is_waited_for_as_long_as_is_said() -> None:
    """And not only as often: the default of both."""
    settings = StorageSettings()
    least_waits = [wait_after(attempt) * 0.5 for attempt in range(settings.max_retries)]
    assert sum(least_waits) > settings.retry_timeout_s


def test_a_listing_that_does_not_get_on_is_given_up(moto_bucket: TestBucket) -> None:
    for key in ("a.pdf", "b.pdf"):
        moto_bucket.put(key)
    first: list[bytes] = []

    def repeat(request: str, answer: bytes) -> bytes:
        more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>more</NextContinuationToken>"
        first.append(with_body(answer, body_of(answer).replace(b"<IsTruncated>false</IsTruncated>", more)))
        return first[0]

    with fault_proxy(moto_bucket.endpoint.port, tamper=repeat) as proxy:
        folder = open_folder(moto_bucket.uri, moto_bucket.through(proxy.url))
        with pytest.raises(StorageError, match="'a.pdf' after 'b.pdf'"):
            keys_of(folder)
    assert len(first) == 2


def test_a_listing_out_of_order_is_refused(moto_bucket: TestBucket) -> None:
    for key in ("a.pdf", "b.pdf"):
        moto_bucket.put(key)

    def swap(request: str, answer: bytes) -> bytes:
        body = body_of(answer).replace(b"a.pdf", b"c.pdf")
        return with_body(answer, body)

    with fault_proxy(moto_bucket.endpoint.port, tamper=swap) as proxy:
        folder = open_folder(moto_bucket.uri, moto_bucket.through(proxy.url))
        with pytest.raises(StorageError, match="not in the order of their bytes"):
            keys_of(folder)


def test_whoever_waits_for_a_store_is_told_once(moto_bucket: TestBucket, caplog: pytest.LogCaptureFixture) -> None:
    settings = StorageSettings(endpoint_url="http://127.0.0.1:9", max_retries=3, retry_timeout_s=5)
    for _ in range(2):
        with pytest.raises(StorageError):
            keys_of(open_folder(moto_bucket.uri, settings))
    (message,) = caplog.messages
    assert "check the network and the endpoint http://127.0.0.1:9. Trying again for 5 s at most" in message
