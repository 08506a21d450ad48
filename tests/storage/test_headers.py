"""Requester-pays buckets and KMS keys: the headers that AWS wants go with every request that needs them, signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quire.storage import open_folder
from tests.conftest import TestBucket, keys_of
from tests.rigs.fault_proxy import FaultProxy, FaultRates, fault_proxy

KEY_ID = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def proxy(moto_bucket: TestBucket) -> Iterator[FaultProxy]:
    with fault_proxy(moto_bucket.endpoint.port, FaultRates()) as proxy:
        yield proxy


def use_all(bucket: TestBucket, proxy: FaultProxy, copy: Path, **storage: object) -> None:
    """Every operation that a folder has, awkward keys (which boto3 reads) included."""
    bucket.put("in//awkward.pdf")
    folder = open_folder(f"{bucket.uri}/in", replace(bucket.through(proxy.url), **storage))  # type: ignore[arg-type]
    folder.put("a", b"abc")
    assert folder.put_if_absent("b", b"abc") and not folder.put_if_absent("b", b"abc")
    for key in ("a", "/awkward.pdf"):
        assert folder.info(key).size_bytes == len(folder.get(key))
        folder.download(key, copy)
    assert folder.get_range("a", 1, 1) == b"b"
    assert keys_of(folder) == ["/awkward.pdf", "a", "b"]
    folder.delete("b")
    assert {request.split()[0] for request, _ in proxy.requests} == {"GET", "HEAD", "PUT", "DELETE"}


def is_signed(headers: dict[bytes, bytes], name: bytes) -> bool:
    """Whether the signature covers the header, without which AWS refuses it."""
    return name in headers[b"authorization"].partition(b"SignedHeaders=")[2].partition(b",")[0].split(b";")


def test_whoever_reads_says_that_they_pay(moto_bucket: TestBucket, proxy: FaultProxy, tmp_path: Path) -> None:
    use_all(moto_bucket, proxy, tmp_path / "copy", request_payer=True)
    for request, headers in proxy.requests:
        assert headers.get(b"x-amz-request-payer") == b"requester", request
        assert is_signed(headers, b"x-amz-request-payer"), request


def test_what_is_written_is_encrypted_with_the_key(
    moto_bucket: TestBucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    use_all(moto_bucket, proxy, tmp_path / "copy", sse_kms_key_id=KEY_ID)
    for request, headers in proxy.requests:
        algorithm = headers.get(b"x-amz-server-side-encryption", b"").decode()
        key_id = headers.get(b"x-amz-server-side-encryption-aws-kms-key-id", b"").decode()
        is_put = request.startswith("PUT")
        assert (algorithm, key_id) == (("aws:kms", KEY_ID) if is_put else ("", "")), request
        assert not is_put or is_signed(headers, b"x-amz-server-side-encryption")
    described = moto_bucket.client.head_object(Bucket=moto_bucket.name, Key="in/a")
    assert (described["ServerSideEncryption"], described["SSEKMSKeyId"]) == ("aws:kms", KEY_ID)


def test_nothing_of_the_kind_is_said_unasked(moto_bucket: TestBucket, proxy: FaultProxy, tmp_path: Path) -> None:
    use_all(moto_bucket, proxy, tmp_path / "copy")
    names = {name for _, headers in proxy.requests for name in headers}
    assert not {name for name in names if b"payer" in name or b"encryption" in name}
