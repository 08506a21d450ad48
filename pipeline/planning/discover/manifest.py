"""Manifests: one URI or path a line, taken literally. Blank lines and lines that begin with `#` are skipped.

UTF-8, or UTF-16 with a byte order mark as some shells write it. Relative paths start at the working directory.
"""

from __future__ import annotations

import codecs
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from quire.config.sections import StorageSettings
from quire.errors import ConfigError, NotFound, ObjectError
from quire.planning.discover.reference import reference
from quire.records import DocumentRef
from quire.secrets import redacted
from quire.storage import open_object
from quire.storage.uris import canonical_uri, is_remote, local_path, object_name, split_uri, storable_name

_NUM_LOOKUPS_IN_FLIGHT = 16
_MOST_HELD_BACK = 10_000


def read_manifest(uri: str, settings: StorageSettings) -> Iterator[DocumentRef]:
    """The documents that a manifest lists, in its order.

    A line whose object does not exist, or cannot be looked up, gives a reference without etag and of size -1. Raises
    NotFound if there are no lines or if all of them are like that, and ConfigError if it is no text. With a manifest of
    ordinary size it raises before it yields anything. Neither the manifest nor the documents are held in memory.
    """
    with tempfile.TemporaryDirectory(prefix="quire-manifest-") as directory:
        path = Path(directory) / "manifest"
        folder, key = open_object(uri, settings)
        folder.download(key, path)
        lines = manifest_lines(path, uri)
        first = next(lines, None)
        if first is None:
            raise NotFound(f"the manifest {uri} has no lines but blank ones and comments")
        yield from _insist_on_one(looked_up(chain([first], lines), settings), uri, first)


def manifest_lines(path: Path, uri: str) -> Iterator[str]:
    """The lines that name something. Raises ConfigError, before the first one, if the file is no text."""
    encoding, errors = _encoding(path)
    try:
        with open(path, encoding=encoding, errors=errors, newline="\n") as lines:
            is_text = not any("\0" in line for line in lines)
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        raise ConfigError(
            f"the manifest {uri} is neither UTF-8 nor UTF-16 with a byte order mark: save it as UTF-8, one URI or path "
            "a line"
        )
    with open(path, encoding=encoding, errors=errors, newline="\n") as lines:
        entries = (line.rstrip("\r\n") for line in lines)
        yield from (entry for entry in entries if entry.strip() and not entry.startswith("#"))


def _encoding(path: Path) -> tuple[str, str]:
    """The encoding, and how to handle bytes that are not valid in it: a file's name may be any bytes."""
    with open(path, "rb") as file:
        beginning = file.read(2)
    if beginning in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16", "strict"
    return "utf-8-sig", "surrogateescape"


def _insist_on_one(refs: Iterator[DocumentRef], uri: str, first_line: str) -> Iterator[DocumentRef]:
    """The same references, held back until one of them exists. Otherwise a list in another program's format would fill
    a plan with wrong names."""
    held: deque[DocumentRef] = deque()
    for ref in refs:
        held.append(ref)
        if ref.etag:
            yield from held
            yield from refs
            return
        if len(held) > _MOST_HELD_BACK:
            yield held.popleft()
    raise NotFound(
        f"nothing that the manifest {uri} names is there, or may be seen; its first line is {first_line!r}: write one "
        "URI or path a line, as it is, without quotes or blanks around it"
    )


def looked_up(uris: Iterable[str], settings: StorageSettings) -> Iterator[DocumentRef]:
    """One request a document, several at a time; results come in order."""
    with ThreadPoolExecutor(_NUM_LOOKUPS_IN_FLIGHT) as pool:
        waiting: deque[Future[DocumentRef]] = deque()
        try:
            for uri in uris:
                waiting.append(pool.submit(_look_up, uri, settings))
                if len(waiting) >= 2 * _NUM_LOOKUPS_IN_FLIGHT:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _look_up(uri: str, settings: StorageSettings) -> DocumentRef:
    try:
        name = object_name(uri, "/".join(split_uri(uri))) if is_remote(uri) else _local_name(uri)
        canonical = canonical_uri(uri)
        folder, key = open_object(uri, settings)
    except ConfigError:  # not a kind of URI that Quire reads; it may be a signed URL
        shown = storable_name(redacted(uri))
        return DocumentRef(shown, "", -1, shown)
    try:
        return reference(folder.info(key), name)
    except ObjectError:
        return DocumentRef(canonical, "", -1, storable_name(name))


def _local_name(uri: str) -> str:
    """The path from the working directory if the file is below it, else from the root."""
    path = local_path(uri)
    here = os.path.join(os.getcwd(), "")
    return path.removeprefix(here).lstrip("/")
