"""Folders in S3 buckets.

obstore moves the data. It cannot be asked for keys with empty parts, `.` or `..` as a part, or control
characters, a listing that meets one fails as a whole, and it silently drops a slash at either end of a key.
So listings come from boto3, which gives every key exactly, and such keys are read through boto3 too
(`is_plain_key`). They are never written.
"""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from obstore import exceptions

from quire.config.settings import StorageSettings
from quire.errors import NotFound, StorageError
from quire.storage.base import Downloaded, ObjectInfo
from quire.storage.s3_client import Bucket, open_bucket
from quire.storage.s3_errors import CLIENT_ERRORS, BodyCutShort, BodyDamaged, explain, insist
from quire.storage.system_errors import write_errors
from quire.storage.uris import local_uri, storable_name

T = TypeVar("T")

Page = tuple[Iterator[tuple[str, str, int]], str]
"""Keys, etags and sizes in bytes; and what to ask for the next page with, empty after the last."""

_AWKWARD_CHUNK_BYTES = 1 << 10  # boto3 waits until it has so many
LEAST_BYTES_PER_S = 1000
_MD5 = re.compile(r"[0-9a-f]{32}")
_AWKWARD_KEY = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|(?:^|/)(?:\.\.?)?(?:/|$)")


@dataclass(frozen=True, slots=True)
class S3Folder:
    """`prefix` is empty or ends in `/`. See `base.Folder` for what the operations promise."""

    bucket: str
    prefix: str
    settings: StorageSettings

    @property
    def uri(self) -> str:
        uri = f"s3://{self.bucket}/{self.prefix}"
        return uri if uri.endswith("//") else uri.removesuffix("/")

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        token, last = "", ""
        while True:
            keys, token = self._page(self.prefix + prefix, token)
            for key, etag, size_bytes in keys:
                self._check_order(last, key)
                last = key
                if size_bytes or not key.endswith("/"):
                    yield self._info(key, etag, size_bytes)
            if not token:
                return

    def _check_order(self, last: str, key: str) -> None:
        """A listing that steps back is wrong, and one that stays where it is would never end."""
        if last and _in_bytes(key) <= _in_bytes(last):
            raise StorageError(
                f"cannot list {self.uri}: the store gives {key!r} after {last!r}, and not in the order of their bytes; "
                "run again, and if it stays so, tell those who keep the store"
            )

    def _page(self, start: str, token: str) -> Page:
        return self._insist("list", start, lambda bucket: _list_page(bucket, start, token))

    def info(self, key: str) -> ObjectInfo:
        name = self.prefix + key
        etag, size_bytes = self._insist("look up", name, lambda bucket: _head(bucket, name))
        return self._info(name, etag, size_bytes)

    def get(self, key: str) -> bytes:
        name = self.prefix + key
        return self._insist("read", name, lambda bucket: _get(bucket, name, self.settings))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        name = self.prefix + key
        return self._insist("read", name, lambda bucket: _get_range(bucket, name, start, length))

    def download(self, key: str, destination: Path) -> Downloaded:
        name = self.prefix + key
        with write_errors("write", local_uri(str(destination))), open(destination, "wb") as file:
            return self._insist("read", name, lambda bucket: _download(bucket, name, self.settings, file))

    def put(self, key: str, data: bytes) -> None:
        name = self._writable(key)
        self._insist("write", name, lambda bucket: bucket.store.put(name, data, use_multipart=False))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        name = self._writable(key)
        return self._insist("write", name, lambda bucket: _create(bucket, name, data))

    def exists(self, key: str) -> bool:
        try:
            self.info(key)
        except NotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        name = self._writable(key)
        self._insist("delete", name, lambda bucket: bucket.store.delete(name))

    def sweep(self) -> None:
        pass

    def child(self, name: str) -> S3Folder:
        return S3Folder(self.bucket, f"{self.prefix}{name.strip('/')}/", self.settings)

    def _info(self, name: str, etag: str, size_bytes: int) -> ObjectInfo:
        uri = f"s3://{self.bucket}/{name}"
        return ObjectInfo(name.removeprefix(self.prefix), uri, etag.strip('"'), size_bytes)

    def _writable(self, key: str) -> str:
        name = self.prefix + key
        if not is_plain_key(name):
            raise StorageError(
                f"cannot write s3://{self.bucket}/{name}: results are not written under names with empty "
                f"parts, '.' or '..' as a part, or control characters; choose another output folder"
            )
        return name

    def _insist(self, operation: str, name: str, call: Callable[[Bucket], T]) -> T:
        bucket = open_bucket(self.bucket, self.settings)

        def explained(exc: Exception) -> StorageError:
            return explain(exc, operation, f"s3://{self.bucket}/{name}", bucket.endpoint_url)

        def tell(exc: Exception) -> None:
            bucket.notice.tell(f"{explained(exc)}. Trying again for {self.settings.retry_timeout_s:g} s at most")

        try:
            return insist(lambda: call(bucket), self.settings, tell)
        except CLIENT_ERRORS as exc:
            raise explained(exc) from exc
        except UnicodeEncodeError as exc:  # half a character, as bytes that are not UTF-8 become in a manifest
            uri = f"s3://{self.bucket}/{storable_name(name)}"
            raise NotFound(f"cannot {operation} {uri}: no S3 key can have this name") from exc


def _in_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def is_plain_key(key: str) -> bool:
    """Whether obstore asks for exactly this key."""
    return bool(key) and _AWKWARD_KEY.search(key) is None


def _list_page(bucket: Bucket, prefix: str, token: str) -> Page:
    where = {"ContinuationToken": token} if token else {}
    page = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=prefix, **where, **bucket.payer)
    keys = ((item["Key"], item.get("ETag", ""), item["Size"]) for item in page.get("Contents", ()))
    return keys, page["NextContinuationToken"] if page["IsTruncated"] else ""


def _head(bucket: Bucket, name: str) -> tuple[str, int]:
    if is_plain_key(name):
        meta = bucket.store.head(name)
        return meta["e_tag"] or "", meta["size"]
    answer = bucket.client.head_object(Bucket=bucket.name, Key=name, **bucket.payer)
    return answer["ETag"], answer["ContentLength"]


def _read(bucket: Bucket, name: str) -> tuple[str, int, Iterator[bytes]]:
    """The object's etag, its size in bytes, and its bytes in pieces, as they come.

    obstore picks a body up where it was cut; with boto3 the cut raises, and the caller starts anew.
    """
    if is_plain_key(name):
        found = bucket.store.get(name)
        chunks = found.stream(min_chunk_size=1)
        return (found.meta["e_tag"] or "").strip('"'), found.meta["size"], chunks
    answer = bucket.client.get_object(Bucket=bucket.name, Key=name, **bucket.payer)
    chunks = answer["Body"].iter_chunks(_AWKWARD_CHUNK_BYTES)
    return answer["ETag"].strip('"'), answer["ContentLength"], chunks


def _get(bucket: Bucket, name: str, settings: StorageSettings) -> bytes:
    data = io.BytesIO()
    _download(bucket, name, settings, data)
    return data.getvalue()


def _get_range(bucket: Bucket, name: str, start: int, length: int) -> bytes:
    data = bytes(bucket.store.get_range(name, start=start, length=length))
    _check_size(len(data), length)
    return data


def _download(bucket: Bucket, name: str, settings: StorageSettings, file: BinaryIO) -> Downloaded:
    file.seek(0)
    file.truncate()
    etag, expected_bytes, chunks = _read(bucket, name)
    sha256, md5, size_bytes = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for chunk in no_slower(chunks, settings.retry_timeout_s / 3):
        sha256.update(chunk)
        md5.update(chunk)
        size_bytes += file.write(chunk)
    _check_size(size_bytes, expected_bytes)
    if (
        settings.etag_is_md5
        and _MD5.fullmatch(etag)
        and md5.hexdigest() != etag
        and not _has_own_key(bucket, name)
    ):
        raise BodyDamaged(f"the bytes have the MD5 {md5.hexdigest()} and not {etag}, the store's")
    return Downloaded(sha256.hexdigest(), size_bytes, etag)


def no_slower(chunks: Iterable[bytes], window_s: float) -> Iterator[bytes]:
    """The same pieces. Raises `BodyCutShort` where for so long fewer than `LEAST_BYTES_PER_S` came: a drip keeps every
    other clock from running out."""
    start_s, num_bytes = time.monotonic(), 0
    for chunk in chunks:
        num_bytes += len(chunk)
        seconds = time.monotonic() - start_s
        if seconds > window_s:
            if num_bytes < LEAST_BYTES_PER_S * seconds:
                raise BodyCutShort(f"only {num_bytes} bytes came in {seconds:.0f} s")
            start_s, num_bytes = time.monotonic(), 0
        yield chunk


def _check_size(size_bytes: int, expected_bytes: int) -> None:
    if size_bytes != expected_bytes:
        raise BodyCutShort(f"{size_bytes} bytes came of {expected_bytes}")


def _has_own_key(bucket: Bucket, name: str) -> bool:
    """Whether the object is encrypted with a key of KMS or of its owner's: then its etag is no MD5 of what is read."""
    answer = bucket.client.head_object(Bucket=bucket.name, Key=name, **bucket.payer)
    return "SSECustomerAlgorithm" in answer or answer.get("ServerSideEncryption", "").startswith("aws:kms")


def _create(bucket: Bucket, name: str, data: bytes) -> bool:
    try:
        bucket.store.put(name, data, mode="create", use_multipart=False)
    except exceptions.AlreadyExistsError as exc:
        # It may also be AWS's 409: two writes at once, both of which may yet fail. So look.
        try:
            _head(bucket, name)
        except FileNotFoundError:
            raise exc from None
        return False
    return True
