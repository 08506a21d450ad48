"""Buckets in S3: boto3 where obstore cannot.

Listings come from boto3, which gives every key exactly. Keys that obstore cannot be asked for (`is_plain_key`) are read
through boto3 too. They are never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from quire.storage.obstore_bucket import Listing, ObstoreBucket, Page, is_plain_key

_AWKWARD_CHUNK_BYTES = 1 << 10  # boto3 waits until it has this many


class S3Client(Protocol):
    """The part of boto3's client that is used here; boto3 has no types."""

    @property
    def meta(self) -> Any: ...

    def list_objects_v2(self, **parameters: str) -> Any: ...

    def head_object(self, **parameters: str) -> Any: ...

    def get_object(self, **parameters: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class S3Bucket(ObstoreBucket):
    """`payer` is passed with each call of `client`; `store` has it from its configuration."""

    client: S3Client
    payer: Mapping[str, str]

    def listing(self, prefix: str) -> Listing:
        return _S3Listing(self, prefix)

    def head(self, name: str) -> tuple[str, int]:
        if is_plain_key(name):
            return ObstoreBucket.head(self, name)
        answer = self.client.head_object(Bucket=self.name, Key=name, **self.payer)
        return answer["ETag"], answer["ContentLength"]

    def read(self, name: str) -> tuple[str, int, Iterator[bytes]]:
        """If a body is cut, obstore resumes there; boto3 raises, and the caller starts again."""
        if is_plain_key(name):
            return ObstoreBucket.read(self, name)
        answer = self.client.get_object(Bucket=self.name, Key=name, **self.payer)
        chunks = answer["Body"].iter_chunks(_AWKWARD_CHUNK_BYTES)
        return answer["ETag"].strip('"'), answer["ContentLength"], chunks

    def has_md5(self, name: str) -> bool:
        """Not if the object is encrypted with a key of KMS or of its owner."""
        answer = self.client.head_object(Bucket=self.name, Key=name, **self.payer)
        return "SSECustomerAlgorithm" not in answer and not answer.get("ServerSideEncryption", "").startswith(
            "aws:kms"
        )


class _S3Listing:
    def __init__(self, bucket: S3Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._token: str | None = ""  # what to ask for the next page with, None after the last

    def next_page(self) -> Page | None:
        if self._token is None:
            return None
        bucket = self._bucket
        where = {"ContinuationToken": self._token} if self._token else {}
        page = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=self._prefix, **where, **bucket.payer)
        self._token = page["NextContinuationToken"] if page["IsTruncated"] else None
        return ((item["Key"], item.get("ETag", ""), item["Size"]) for item in page.get("Contents", ()))
