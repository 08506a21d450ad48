"""Folders in buckets, and documents on web servers, for every kind of store.

`ObstoreBucket` and its subclasses send the requests; here they are retried, checked, and explained if they fail.
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

from quire.config.sections import StorageSettings
from quire.errors import FolderNotFound, NotFound, StorageError
from quire.storage.base import Downloaded, ObjectInfo, too_large
from quire.storage.buckets import open_bucket
from quire.storage.obstore_bucket import ObstoreBucket, check_size, is_plain_key
from quire.storage.store_errors import BodyCutShort, BodyDamaged, explain
from quire.storage.system_errors import write_errors
from quire.storage.tries import insist
from quire.storage.uris import Scheme, local_uri, storable_name

T = TypeVar("T")

LEAST_BYTES_PER_S = 1000
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class BucketFolder:
    """`prefix` is empty or ends in `/`. See `base.Folder` for what the operations promise."""

    scheme: Scheme
    bucket: str
    prefix: str
    settings: StorageSettings

    @property
    def uri(self) -> str:
        uri = self._uri(self.prefix)
        return uri if uri.endswith("//") else uri.removesuffix("/")

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        start, last = self.prefix + prefix, ""
        listing = self._insist("list", start, lambda bucket: bucket.listing(start))
        while (page := self._insist("list", start, lambda _: listing.next_page())) is not None:
            for key, etag, size_bytes in page:
                self._check_order(last, key)
                last = key
                if size_bytes or not key.endswith("/"):
                    yield self._info(key, etag, size_bytes)

    def _check_order(self, last: str, key: str) -> None:
        """A listing that goes backwards is wrong, and one that repeats a key might never end."""
        orders = open_bucket(self.scheme, self.bucket, self.settings).vocabulary.orders
        if last and all(order(key) <= order(last) for order in orders):
            raise StorageError(
                f"cannot list {self.uri}: the store gives {key!r} after {last!r}, and not in the order of their bytes; "
                "run again, and if it stays so, tell those who keep the store"
            )

    def info(self, key: str) -> ObjectInfo:
        name = self.prefix + key
        etag, size_bytes = self._insist("look up", name, lambda bucket: bucket.head(name))
        return self._info(name, etag, size_bytes)

    def get(self, key: str) -> bytes:
        data = io.BytesIO()
        self._download(self.prefix + key, data, None)
        return data.getvalue()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        name = self.prefix + key
        return self._insist("read", name, lambda bucket: bucket.get_range(name, start, length))

    def download(self, key: str, destination: Path, most_bytes: int | None = None) -> Downloaded:
        with write_errors("write", local_uri(str(destination))), open(destination, "wb") as file:
            return self._download(self.prefix + key, file, most_bytes)

    def _download(self, name: str, file: BinaryIO, most_bytes: int | None) -> Downloaded:
        def call(bucket: ObstoreBucket) -> Downloaded:
            return _download(bucket, name, self.settings, file, most_bytes)

        return self._insist("read", name, call)

    def put(self, key: str, data: bytes) -> None:
        name = self._writable(key)
        self._insist("write", name, lambda bucket: bucket.put(name, data))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        name = self._writable(key)
        return self._insist("write", name, lambda bucket: bucket.create(name, data))

    def exists(self, key: str) -> bool:
        try:
            self.info(key)
        except NotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        name = self._writable(key)
        try:
            self._insist("delete", name, lambda bucket: bucket.delete(name))
        except FolderNotFound:
            raise
        except NotFound:  # some stores answer so
            pass

    def sweep(self) -> None:
        pass

    def child(self, name: str) -> BucketFolder:
        return BucketFolder(self.scheme, self.bucket, f"{self.prefix}{name.strip('/')}/", self.settings)

    def _info(self, name: str, etag: str, size_bytes: int) -> ObjectInfo:
        return ObjectInfo(name.removeprefix(self.prefix), self._uri(name), etag.strip('"'), size_bytes)

    def _uri(self, name: str) -> str:
        return f"{self.scheme}://{self.bucket}/{name}"

    def _writable(self, key: str) -> str:
        name = self.prefix + key
        if not is_plain_key(name):
            raise StorageError(
                f"cannot write {self._uri(name)}: results are not written under names with empty "
                f"parts, '.' or '..' as a part, or control characters; choose another output folder"
            )
        return name

    def _insist(self, operation: str, name: str, call: Callable[[ObstoreBucket], T]) -> T:
        bucket = open_bucket(self.scheme, self.bucket, self.settings)

        def explained(exc: Exception) -> StorageError:
            uri = storable_name(self._uri(name))
            return explain(exc, operation, uri, bucket.endpoint_url, bucket.vocabulary)

        def tell(exc: Exception) -> None:
            bucket.notice.tell(f"{explained(exc)}. Trying again for {self.settings.retry_timeout_s:g} s at most")

        try:
            return insist(lambda: call(bucket), self.settings, bucket.vocabulary, tell)
        except bucket.vocabulary.client_errors as exc:
            raise explained(exc) from exc
        except UnicodeEncodeError as exc:  # a lone surrogate: bytes that are not UTF-8, from a manifest
            uri = storable_name(self._uri(name))
            raise NotFound(
                f"cannot {operation} {uri}: no {bucket.vocabulary.store} key can have this name"
            ) from exc


def _download(
    bucket: ObstoreBucket, name: str, settings: StorageSettings, file: BinaryIO, most_bytes: int | None
) -> Downloaded:
    file.seek(0)
    file.truncate()
    etag, expected_bytes, chunks = bucket.read(name)
    if most_bytes is not None and expected_bytes > most_bytes:
        raise too_large(most_bytes)
    sha256, md5, size_bytes = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for chunk in no_slower(chunks, settings.retry_timeout_s / 3):
        sha256.update(chunk)
        md5.update(chunk)
        size_bytes += file.write(chunk)
    check_size(size_bytes, expected_bytes)
    if settings.etag_is_md5 and _MD5.fullmatch(etag) and md5.hexdigest() != etag and bucket.has_md5(name):
        raise BodyDamaged(f"the bytes have the MD5 {md5.hexdigest()} and not {etag}, the store's")
    return Downloaded(sha256.hexdigest(), size_bytes, etag)


def no_slower(chunks: Iterable[bytes], window_s: float) -> Iterator[bytes]:
    """The same chunks. Raises `BodyCutShort` if fewer than `LEAST_BYTES_PER_S` came for `window_s`: with a very slow
    server no other timeout ends."""
    start_s, num_bytes = time.monotonic(), 0
    for chunk in chunks:
        num_bytes += len(chunk)
        seconds = time.monotonic() - start_s
        if seconds > window_s:
            if num_bytes < LEAST_BYTES_PER_S * seconds:
                raise BodyCutShort(f"only {num_bytes} bytes came in {seconds:.0f} s")
            start_s, num_bytes = time.monotonic(), 0
        yield chunk
