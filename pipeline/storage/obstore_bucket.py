"""One bucket, through obstore: the requests that a `BucketFolder` needs. Each is sent once, apart from a few retries by
obstore itself. Knows no folders, and of stores only what they share.

obstore cannot be asked for keys with empty parts, `.` or `..` as a part, or control characters. A listing that meets
one fails as a whole. A slash at either end of a key is silently dropped (`is_plain_key`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from quire.config.sections import StorageSettings
from quire.errors import StorageError, StoreMisconfigured, Unreadable
from quire.storage.store_errors import AWKWARD_REMEDY, BodyCutShort, Vocabulary
from quire.storage.tries import Notice
from quire.storage.uris import storable_name

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60  # of silence, not of a whole transfer
TRANSFER_TIMEOUT_S = 6 * 3600
_QUICK_TRIES = 3
_LISTED_AT_ONCE = 1000
_AWKWARD_KEY = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|(?:^|/)(?:\.\.?)?(?:/|$)")

Page = Iterator[tuple[str, str, int]]
"""Keys, etags and sizes in bytes."""
Store = S3Store | GCSStore | AzureStore | HTTPStore


class Listing(Protocol):
    """A listing under way."""

    def next_page(self) -> Page | None:
        """None after the last page. May be called again after an error."""


@dataclass(frozen=True, slots=True)
class ObstoreBucket:
    """May be used from many threads. `endpoint_url` is for messages."""

    name: str
    endpoint_url: str
    store: Store
    notice: Notice
    vocabulary: Vocabulary

    def listing(self, prefix: str) -> Listing:
        """The objects whose keys begin with the prefix, in the store's order."""
        return _ObstoreListing(self.store, prefix)

    def head(self, name: str) -> tuple[str, int]:
        """The object's etag and its size in bytes."""
        store, key = self._at(name)
        meta = store.head(key)
        return _etag(meta), meta["size"]

    def read(self, name: str) -> tuple[str, int, Iterator[bytes]]:
        """The object's etag, its size in bytes, and its bytes in chunks, as they come."""
        store, key = self._at(name)
        found = store.get(key)
        return _etag(found.meta), found.meta["size"], found.stream(min_chunk_size=1)

    def get_range(self, name: str, start: int, length: int) -> bytes:
        store, key = self._at(name)
        data = bytes(store.get_range(key, start=start, length=length))
        check_size(len(data), length)
        return data

    def put(self, name: str, data: bytes) -> None:
        self.store.put(name, data, use_multipart=False)

    def create(self, name: str, data: bytes) -> bool:
        """See `Folder.put_if_absent`."""
        try:
            self.store.put(name, data, mode="create", use_multipart=False)
        except exceptions.AlreadyExistsError as exc:
            # It may also be AWS's 409: two writes at once, and both may still fail. So look it up.
            try:
                self.head(name)
            except FileNotFoundError:
                raise exc from None
            return False
        return True

    def delete(self, name: str) -> None:
        self.store.delete(name)

    def has_md5(self, name: str) -> bool:
        """Whether an etag that looks like the MD5 of the object's bytes is one."""
        return True

    def _at(self, name: str) -> tuple[Store, str]:
        """The store and the key to ask it for. Raises `Unreadable` for a key that obstore cannot ask for exactly."""
        _refuse_awkward(name, name)
        return self.store, name


class _ObstoreListing:
    """After an error it lists from the start again, and skips what it has already given.

    obstore's prefixes are whole folders only, and it drops the slash at the end of objects that stand for a directory.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._last = ""  # as obstore names it
        self._pages: Iterator[Any] | None = None

    def next_page(self) -> Page | None:
        is_new = self._pages is None
        if self._pages is None:
            folder = self._prefix.rpartition("/")[0]
            _refuse_awkward(folder or "any", self._prefix)
            self._pages = iter(self._store.list(folder or None, chunk_size=_LISTED_AT_ONCE))
        try:
            items = self._after_last() if is_new and self._last else next(self._pages, None)
            if items is None:
                return None
            page = [entry for item in items if (entry := self._entry(item)) is not None]
        except BaseException:
            self._pages = None
            raise
        self._last = items[-1]["path"] if items else self._last
        return iter(page)

    def _after_last(self) -> list[Any] | None:
        for items in self._pages or ():
            names = [item["path"] for item in items]
            if self._last in names:
                return list(items[names.index(self._last) + 1 :])
        raise StorageError(f"{self._last} went while it was listed; run again")

    def _entry(self, item: Any) -> tuple[str, str, int] | None:
        key, size_bytes = item["path"], item["size"]
        if not key.startswith(self._prefix) or (not size_bytes and not self._is_there(key)):
            return None
        return key, _etag(item), size_bytes

    def _is_there(self, key: str) -> bool:
        try:
            self._store.head(key)
        except FileNotFoundError:  # its name is `key/`: it stands for a directory
            return False
        return True


def _refuse_awkward(name: str, shown: str) -> None:
    if not is_plain_key(name):
        raise Unreadable(f"cannot read {storable_name(shown)!r}: {AWKWARD_REMEDY}")


def _etag(meta: Any) -> str:
    return (meta["e_tag"] or "").strip('"')


def is_plain_key(key: str) -> bool:
    """Whether obstore asks for exactly this key."""
    return bool(key) and _AWKWARD_KEY.search(key) is None


def check_size(size_bytes: int, expected_bytes: int) -> None:
    if size_bytes != expected_bytes:
        raise BodyCutShort(f"{size_bytes} bytes came of {expected_bytes}")


def client_options(endpoint_url: str) -> dict[str, Any]:
    """obstore's options for a client of this endpoint. Without `allow_http` it does not follow a redirect from https to
    http either."""
    return {
        "allow_http": endpoint_url.startswith("http://"),
        "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
        "read_timeout": timedelta(seconds=READ_TIMEOUT_S),
        "timeout": timedelta(seconds=TRANSFER_TIMEOUT_S),
    }


def retry_config(settings: StorageSettings) -> dict[str, Any]:
    """obstore's own retries: a few, quick and silent, also if a body is cut. After them `tries.insist` waits longer and
    logs that. Each wait is random, between the first one and `base` times the one before."""
    return {
        "backoff": {"init_backoff": timedelta(seconds=0.2), "base": 3},
        "max_retries": min(settings.max_retries, _QUICK_TRIES),
        "retry_timeout": timedelta(seconds=settings.retry_timeout_s),
    }


def insist_on_url(endpoint_url: str) -> None:
    """Raise `StoreMisconfigured` for an endpoint at which obstore would crash."""
    try:
        _ = urlsplit(endpoint_url).port
    except ValueError:  # it quotes the supposed port, which may be part of a password
        raise StoreMisconfigured(
            f"the endpoint {endpoint_url} is no URL: write http://host:port, and percent-encode what is special in a "
            "password"
        ) from None
