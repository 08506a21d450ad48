"""Which client reaches a bucket. There is one a process for each bucket and settings. What only one store needs, above
all boto3, is imported with its first bucket."""

from __future__ import annotations

import threading
from functools import lru_cache

from quire.config.sections import StorageSettings
from quire.storage.obstore_bucket import ObstoreBucket
from quire.storage.uris import Scheme

_opening = threading.Lock()


def open_bucket(scheme: Scheme, name: str, settings: StorageSettings) -> ObstoreBucket:
    """The bucket, container or web server of this name. No request is made of it. Raises CredentialsRefused where no
    credentials are found, and StoreMisconfigured."""
    with _opening:  # boto3 must not make clients in two threads at once
        return _open_bucket(scheme, name, settings)


@lru_cache(maxsize=64)
def _open_bucket(scheme: Scheme, name: str, settings: StorageSettings) -> ObstoreBucket:
    if scheme == "s3":
        from quire.storage.s3_client import open_s3_bucket

        return open_s3_bucket(name, settings)
    from quire.storage.cloud_clients import open_azure_container, open_google_bucket, open_web_server

    if scheme == "gs":
        return open_google_bucket(name, settings)
    if scheme == "az":
        return open_azure_container(name, settings)
    return open_web_server(scheme, name, settings)
