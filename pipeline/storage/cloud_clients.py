"""How obstore reaches Google Cloud Storage, Azure and web servers.

Credentials, accounts and the endpoints of emulators come from the same environment variables that the clouds' own
tools read. The setting `anonymous` means the same for all. S3's settings `endpoint_url` and those of buckets do not
apply here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, HTTPStore

from quire.config.sections import StorageSettings
from quire.config.settings import environment
from quire.errors import StorageError, StoreMisconfigured, Unreadable
from quire.storage.cloud_errors import AZURE_VOCABULARY, GOOGLE_VOCABULARY, WEB_VOCABULARY
from quire.storage.obstore_bucket import (
    Listing,
    ObstoreBucket,
    Store,
    client_options,
    insist_on_url,
    is_plain_key,
    retry_config,
)
from quire.storage.store_errors import obstore_answer
from quire.storage.tries import Notice

_GOOGLE_URL = "https://storage.googleapis.com"
_EMULATOR_URL = "http://127.0.0.1:10000"  # of Azure; the one that obstore uses
_NEVER = datetime.fromtimestamp(0, UTC)  # what obstore gives as the time if there is none
_AS_IT_IS = re.compile(r"[A-Za-z0-9_~./-]+")  # obstore writes it unchanged into a URL


def open_google_bucket(name: str, settings: StorageSettings) -> ObstoreBucket:
    """A bucket of Google Cloud Storage, or of the emulator that `STORAGE_EMULATOR_HOST` names."""
    emulator = environment("STORAGE_EMULATOR_HOST")
    url = emulator or environment("GOOGLE_BASE_URL") or _GOOGLE_URL
    url = url if "://" in url else f"http://{url}"
    insist_on_url(url)
    config: dict[str, Any] = {"skip_signature": settings.anonymous}
    if url != _GOOGLE_URL:
        config["base_url"] = url
    if emulator:
        config["bearer_token"] = "emulator"
    try:
        store = GCSStore(
            name, config=config, client_options=client_options(url), retry_config=retry_config(settings)
        )
    except exceptions.BaseError as exc:
        raise _misconfigured(f"gs://{name}", exc, "GOOGLE_APPLICATION_CREDENTIALS and the file it names") from exc
    return ObstoreBucket(name, url, store, Notice(), GOOGLE_VOCABULARY)


def open_azure_container(name: str, settings: StorageSettings) -> ObstoreBucket:
    """A container of the account that `AZURE_STORAGE_ACCOUNT_NAME` names."""
    account = environment("AZURE_STORAGE_ACCOUNT_NAME")
    is_emulator = environment("AZURE_STORAGE_USE_EMULATOR").lower() in ("1", "true")
    if not account and not is_emulator:
        raise StoreMisconfigured(f"cannot open az://{name}: say the account's name in AZURE_STORAGE_ACCOUNT_NAME")
    url = environment("AZURE_STORAGE_ENDPOINT") or environment("AZURE_ENDPOINT")
    if not url:
        url = _EMULATOR_URL if is_emulator else f"https://{account}.blob.core.windows.net"
    insist_on_url(url)
    try:
        store = AzureStore(
            name,
            config={"skip_signature": settings.anonymous},
            client_options=client_options(url),
            retry_config=retry_config(settings),
        )
    except exceptions.BaseError as exc:
        raise _misconfigured(f"az://{name}", exc, "the variables AZURE_…") from exc
    return ObstoreBucket(name, url, store, Notice(), AZURE_VOCABULARY)


def _misconfigured(uri: str, exc: Exception, what: str) -> StoreMisconfigured:
    """Without obstore's words, which may quote a secret key."""
    return StoreMisconfigured(f"cannot open {uri}: obstore does not take how it is to be reached; check {what}")


@dataclass(frozen=True, slots=True)
class WebServer(ObstoreBucket):
    """Documents by their URLs: `name` is the host, a document's name is its path as requested (percent-encoded)."""

    settings: StorageSettings

    def listing(self, prefix: str) -> Listing:
        raise Unreadable(
            f"cannot list {self.endpoint_url}/{prefix}: documents on web servers are named one by one; write their "
            "URLs into a manifest (@list.txt)"
        )

    def head(self, name: str) -> tuple[str, int]:
        """Some servers refuse HEAD, or give no length with it. The headers of a GET serve as well."""
        store, key = self._at(name)
        try:
            return self._identity(store.head(key))
        except (exceptions.BaseError, OSError) as exc:
            if obstore_answer(exc)[1] not in (403, 405, 501) and "Content-Length" not in str(exc):
                raise
        return self._identity(store.get(key).meta)

    def read(self, name: str) -> tuple[str, int, Iterator[bytes]]:
        store, key = self._at(name)
        found = store.get(key)
        return *self._identity(found.meta), found.stream(min_chunk_size=1)

    def _identity(self, meta: Any) -> tuple[str, int]:
        """The etag, or else the time of the last change, or else only the size; and the size in bytes."""
        size_bytes = meta["size"]
        if meta["e_tag"]:
            return meta["e_tag"].strip('"'), size_bytes
        if meta["last_modified"] > _NEVER:
            return f"{meta['last_modified']:%Y%m%dT%H%M%SZ}-{size_bytes:x}", size_bytes
        self.notice.tell(
            f"{self.endpoint_url} gives neither ETag nor Last-Modified: a later run notices only changes of the size"
        )
        return f"size-{size_bytes:x}", size_bytes

    def put(self, name: str, data: bytes) -> None:
        raise self._unwritable()

    def create(self, name: str, data: bytes) -> bool:
        raise self._unwritable()

    def delete(self, name: str) -> None:
        raise self._unwritable()

    def _unwritable(self) -> StorageError:
        return StorageError(f"cannot write to {self.endpoint_url}: web servers are read from only")

    def _at(self, name: str) -> tuple[Store, str]:
        if _AS_IT_IS.fullmatch(name) and is_plain_key(name):
            return self.store, name
        return _store_of_url(f"{self.endpoint_url}/{name}", self.settings), ""


def open_web_server(scheme: str, host: str, settings: StorageSettings) -> WebServer:
    """A web server by its host and port."""
    url = f"{scheme}://{host}"
    insist_on_url(url)
    return WebServer(host, url, _store_of_url(url, settings), Notice(), WEB_VOCABULARY, settings)


@lru_cache(maxsize=64)
def _store_of_url(url: str, settings: StorageSettings) -> HTTPStore:
    return HTTPStore(url, client_options=client_options(url), retry_config=retry_config(settings))
