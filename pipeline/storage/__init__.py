"""Object stores: the only code that reaches them, and the same few operations over local folders.

    open_folder(uri, settings) -> Folder         a prefix or a directory: list, info, get, download, put, …
    open_object(uri, settings) -> Folder, key    one object by its full URI

    uris.py            URIs, and which store each belongs to
    base.py            the interface of a folder
    local.py           folders on a file system
    bucket_folder.py   folders in buckets, and web servers: retries, checks, explains errors
    buckets.py         finds the client of a bucket
    obstore_bucket.py  the requests, through obstore; `s3.py`: those that need boto3
    cloud_clients.py   sets obstore up for Google, Azure and web servers; `s3_client.py` for S3
    store_errors.py    what errors mean, by the codes in `s3_errors.py` and `cloud_errors.py`; `tries.py` retries

Everything here blocks: async callers use `asyncio.to_thread`. Many threads may use a folder, and it may be pickled. It
must not be used after a fork: the S3 client's threads do not survive one. What only buckets need, above all boto3,
takes a third of a second to import, so it is imported when the first bucket is opened. Errors are
`errors.StorageError`, and `errors.ObjectError` where one object is at fault. Does not know what the bytes mean.
"""

from __future__ import annotations

import os

from quire.config.sections import StorageSettings
from quire.storage.base import Downloaded, Folder, ObjectInfo
from quire.storage.local import LocalFolder
from quire.storage.uris import local_path, scheme_of, split_uri

__all__ = ["Downloaded", "Folder", "ObjectInfo", "open_folder", "open_object"]


def open_folder(uri: str, settings: StorageSettings) -> Folder:
    """The folder at a URI of a store (`uris.py`), a `file://` URI or a path. It need not exist: the first put makes it.

    No request is made; clients are made on first use and shared by the folders of a bucket.
    """
    scheme = scheme_of(uri)
    if scheme is None:
        return LocalFolder(local_path(uri))
    from quire.storage.bucket_folder import BucketFolder

    bucket, key = split_uri(uri)
    return BucketFolder(scheme, bucket, key if key.endswith("/") or not key else f"{key}/", settings)


def open_object(uri: str, settings: StorageSettings) -> tuple[Folder, str]:
    """The folder to ask and the key to ask for, for one object by its full URI."""
    scheme = scheme_of(uri)
    if scheme is None:
        parent, name = os.path.split(local_path(uri))
        return LocalFolder(parent), name
    from quire.storage.bucket_folder import BucketFolder

    bucket, key = split_uri(uri)
    return BucketFolder(scheme, bucket, "", settings), key
