"""Object stores: the only code that reaches S3, and the same few operations over local folders.

    open_folder(uri, settings) -> Folder         a prefix or a directory: list, info, get, download, put, …
    open_object(uri, settings) -> Folder, key    one object by its full URI

`base.py` says what a folder does, `uris.py` how things are named, `local.py` and `s3.py` do it. Everything
here blocks: async callers use `asyncio.to_thread`. Many threads may use a folder, and it may be pickled. It must not
be used after a fork: the S3 client's threads do not survive one. What only buckets need, boto3 above all, takes
a third of a second to import. It is imported when the first bucket is opened. Errors are `errors.StorageError`, and
`errors.ObjectError` where one object is at fault. Does not know what the bytes mean.
"""

from __future__ import annotations

import os

from quire.config.settings import StorageSettings
from quire.storage.base import Downloaded, Folder, ObjectInfo
from quire.storage.local import LocalFolder
from quire.storage.uris import is_s3_uri, local_path, split_uri

__all__ = ["Downloaded", "Folder", "ObjectInfo", "open_folder", "open_object"]


def open_folder(uri: str, settings: StorageSettings) -> Folder:
    """The folder at an `s3://` URI, a `file://` URI or a path. It need not exist: the first put makes it.

    No request is made; clients are made on first use and shared by the folders of a bucket.
    """
    if is_s3_uri(uri):
        from quire.storage.s3 import S3Folder

        bucket, key = split_uri(uri)
        return S3Folder(bucket, key if key.endswith("/") or not key else f"{key}/", settings)
    return LocalFolder(local_path(uri))


def open_object(uri: str, settings: StorageSettings) -> tuple[Folder, str]:
    """The folder to ask and the key to ask for, for one object by its full URI."""
    if is_s3_uri(uri):
        from quire.storage.s3 import S3Folder

        bucket, key = split_uri(uri)
        return S3Folder(bucket, "", settings), key
    parent, name = os.path.split(local_path(uri))
    return LocalFolder(parent), name
