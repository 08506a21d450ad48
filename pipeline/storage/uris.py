"""How objects are named. Pure: no store is asked.

    S3      s3://bucket/key, the key exactly as the store has it: nothing is percent-encoded, so `%`, `?`,
            `#`, `..` and `//` stand for themselves
    local   the absolute path, as it is; where it holds bytes that are not UTF-8, which no table or JSON file
            may hold, `file://` and the path percent-encoded

Both ways back are exact (`split_uri`, `local_path`).
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote_to_bytes

from quire.errors import ConfigError

S3_SCHEME = "s3://"
FILE_SCHEME = "file://"
_BUCKET_NAME = re.compile(r"[A-Za-z0-9._:-]+")  # the store decides; this keeps out what no request can carry


def is_s3_uri(uri: str) -> bool:
    return uri.startswith(S3_SCHEME)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI. Raises ConfigError if it names no bucket, or what can be none."""
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    if not is_s3_uri(uri) or not _BUCKET_NAME.fullmatch(bucket):
        raise ConfigError(f"{uri!r} names no bucket: S3 objects are written s3://bucket/key")
    return bucket, key


def local_path(uri: str) -> str:
    """The absolute path of a `file://` URI or of a path, which may be relative to the working directory.

    A string rather than a `Path`, which would drop nothing but hide the rule for bytes that are not UTF-8:
    they are lone surrogates in it, as everywhere in Python. Raises ConfigError for other schemes.
    """
    if uri.startswith(FILE_SCHEME):
        host, slash, path = uri.removeprefix(FILE_SCHEME).partition("/")
        if host not in ("", "localhost") or not slash:
            raise ConfigError(f"{uri!r} names no local file: write file:///absolute/path")
        return os.path.abspath(os.fsdecode(unquote_to_bytes(slash + path)))
    if re.match(r"(s3|file):/(?!/)", uri):
        scheme, _, rest = uri.partition(":/")
        raise ConfigError(
            f"{uri!r} has one slash too few: write {scheme}://{'/' if scheme == 'file' else ''}{rest}"
        )
    scheme, separator, _ = uri.partition("://")
    if separator and scheme.isalnum():
        raise ConfigError(f"{uri!r} is of a kind that is not read here: use s3://bucket/key or a local path")
    return os.path.abspath(uri)


def local_uri(path: str) -> str:
    """The URI of an absolute local path."""
    return path if _is_unicode(path) else FILE_SCHEME + quote(os.fsencode(path))


def storable_name(name: str) -> str:
    """A name fit for tables and JSON: each byte that is not UTF-8 becomes `%` and two hex digits."""
    if _is_unicode(name):
        return name
    marked = "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
    return marked.encode(errors="replace").decode()  # other halves of characters come from no file's name


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
