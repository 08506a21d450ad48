"""How objects are named, and which store a name belongs to. Pure: no store is asked.

    s3://bucket/key         the key exactly as the store has it: nothing is percent-encoded, so `%`, `?`, `#`, `..` and
    gs://bucket/key         `//` stand for themselves. `abfs://` and `abfss://` are other spellings of `az://`; the
    az://container/key      account of Azure is named by the environment
    https://host/path       a URL as in a browser, percent-encoded, without a user, a query or a fragment: results
    http://host/path        hold the names of their documents, and must hold no signature
    local                   the absolute path, as it is; where it holds bytes that are not UTF-8, which no table or JSON
                            file may hold, `file://` and the path percent-encoded

The way back is always exact (`split_uri`, `local_path`).
"""

from __future__ import annotations

import os
import re
from typing import Literal
from urllib.parse import quote, unquote, unquote_to_bytes

from quire.errors import ConfigError

Scheme = Literal["s3", "gs", "az", "https", "http"]

FILE_SCHEME = "file://"
READ_HERE = "s3://bucket/key, gs://bucket/key, az://container/key, https://host/path or a local path"
SHARED_STORES = "s3://…, gs://… or az://…"
_SCHEMES: dict[str, Scheme] = {
    **{"s3": "s3", "gs": "gs", "az": "az", "abfs": "az", "abfss": "az"},
    **{"https": "https", "http": "http"},
}
_OF_OBJECTS = {"s3": "S3 objects", "gs": "objects of Google Cloud Storage", "az": "blobs of Azure"}
_BUCKET_NAME = re.compile(r"[A-Za-z0-9._:$-]+")  # the store decides; this refuses only what no request can carry
_HOST = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?|\[[0-9a-fA-F:.]+\](?::\d{1,5})?")


def scheme_of(uri: str) -> Scheme | None:
    """The store that a URI belongs to; None for local ones and for kinds that Quire does not read."""
    scheme, separator, _ = uri.partition("://")
    return _SCHEMES.get(scheme) if separator else None


def is_remote(uri: str) -> bool:
    """Whether it names the same object on every machine."""
    return scheme_of(uri) is not None


def is_listable(uri: str) -> bool:
    """Whether what is below it can be listed. A web server has no listings."""
    return scheme_of(uri) not in ("https", "http")


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an object in a bucket; for one on a web server, host and path (as requested, percent-encoded).

    Raises ConfigError if it names no bucket or host, or an impossible one.
    """
    scheme = scheme_of(uri)
    bucket, _, key = uri.partition("://")[2].partition("/")
    if scheme in ("https", "http"):
        _refuse_in_url(uri, bucket)
        return bucket, key
    if scheme == "az" and "@" in bucket:
        raise ConfigError(
            f"{uri!r} names an account: write az://{bucket.partition('@')[0]}/{key}, and say the account's name in "
            "AZURE_STORAGE_ACCOUNT_NAME"
        )
    if scheme is None or not _BUCKET_NAME.fullmatch(bucket):
        written = f"{scheme}://{'container' if scheme == 'az' else 'bucket'}/key" if scheme else "s3://bucket/key"
        raise ConfigError(
            f"{uri!r} names no {'container' if scheme == 'az' else 'bucket'}: {_OF_OBJECTS[scheme or 's3']} are "
            f"written {written}"
        )
    return bucket, key


def _refuse_in_url(uri: str, host: str) -> None:
    if "?" in uri:
        raise ConfigError(
            f"{uri!r}: a URL with a query is not read, as it may hold a signature, and results name their documents; "
            "give an address without one, or put the document into a bucket or a folder"
        )
    if "@" in host:
        raise ConfigError(f"{uri!r}: a URL with a user or a password is not read, as results name their documents")
    if "#" in uri:
        raise ConfigError(f"{uri!r}: leave out the # and what follows it, or write it %23 if it is of the name")
    if not _HOST.fullmatch(host):
        raise ConfigError(f"{uri!r} names no host: documents on web servers are written https://host/path")


def root_of(uri: str) -> str:
    """The URI of the bucket or web server that an object is in; empty for local files."""
    scheme = scheme_of(uri)
    return f"{scheme}://{split_uri(uri)[0]}" if scheme else ""


def canonical_uri(uri: str) -> str:
    """The spelling that results use. Raises ConfigError for kinds of URI that Quire does not read."""
    scheme = scheme_of(uri)
    if scheme is None:
        return local_uri(local_path(uri))
    return storable_name(f"{scheme}://{'/'.join(split_uri(uri))}")


def object_name(uri: str, key: str) -> str:
    """A remote object's key as people read it: the path of a URL is percent-decoded."""
    return key if is_listable(uri) else unquote(key, errors="surrogateescape")


def local_path(uri: str) -> str:
    """The absolute path of a `file://` URI or of a path, which may be relative to the working directory.

    A string and not a `Path`, to keep visible that bytes which are not UTF-8 are lone surrogates in it, as everywhere
    in Python. Raises ConfigError for all other schemes, also for those of stores.
    """
    if uri.startswith(FILE_SCHEME):
        host, slash, path = uri.removeprefix(FILE_SCHEME).partition("/")
        if host not in ("", "localhost") or not slash:
            raise ConfigError(f"{uri!r} names no local file: write file:///absolute/path")
        return os.path.abspath(os.fsdecode(unquote_to_bytes(slash + path)))
    schemes = "|".join([*_SCHEMES, "file"])
    if re.match(rf"({schemes}):/(?!/)", uri):
        scheme, _, rest = uri.partition(":/")
        raise ConfigError(
            f"{uri!r} has one slash too few: write {scheme}://{'/' if scheme == 'file' else ''}{rest}"
        )
    scheme, separator, _ = uri.partition("://")
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ConfigError(f"{uri!r} is of a kind that is not read here: write {READ_HERE}")
    return os.path.abspath(uri)


def local_uri(path: str) -> str:
    """The URI of an absolute local path."""
    return path if _is_unicode(path) else FILE_SCHEME + quote(os.fsencode(path))


def storable_name(name: str) -> str:
    """A name that tables and JSON can hold: each byte that is not UTF-8 becomes `%` and two hex digits."""
    if _is_unicode(name):
        return name
    marked = "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
    return marked.encode(errors="replace").decode()  # other lone surrogates come from no file's name


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
