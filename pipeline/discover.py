"""Sources as a person writes them → the documents below them, in a stable order.

    s3://bucket/folder/       /data/in      everything below, whatever its name
    s3://bucket/a.pdf         /data/a.pdf   one document
    s3://bucket/in/**/*.pdf   in/*.pdf      what matches: `*` `?` `[…]` in a name, `**` for any folders
    @s3://bucket/list.txt     @list.txt     a manifest: one URI or path a line (`read_manifest`)

An existing object whose name looks like a pattern is taken for itself. Nothing is opened: what a document is,
planning finds out. Knows nothing of results, but can be told to pass over their folder.
"""

from __future__ import annotations

import fnmatch
import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from pipeline.config import StorageSettings
from pipeline.errors import ConfigError, NotFound, ObjectError
from pipeline.records import DocumentRef
from pipeline.storage import ObjectInfo, open_folder, open_object
from pipeline.storage.uris import is_s3_uri, local_path, local_uri, split_uri, storable_name

_PATTERN_CHARACTERS = re.compile(r"[*?\[]")
_NUM_LOOKUPS_IN_FLIGHT = 16


def discover(
    sources: Sequence[str], settings: StorageSettings, exclude: Sequence[str] = ()
) -> Iterator[DocumentRef]:
    """The documents of each source in turn, each source's in the order of their keys' bytes.

    Nothing below the folders in `exclude` is given. A document that two sources share comes twice. Raises
    NotFound for a source that does not exist or below which there is nothing, when its turn comes.
    """
    is_excluded = _exclusion(exclude)
    for source in dict.fromkeys(sources):
        num_found = 0
        for ref in _documents(source, settings):
            num_found += 1
            if not is_excluded(ref.uri):
                yield ref
        if not num_found:
            raise NotFound(f"there are no documents at {source}: {_hint(source)}")


def _documents(source: str, settings: StorageSettings) -> Iterator[DocumentRef]:
    if source.startswith("@"):
        yield from read_manifest(source[1:], settings)
        return
    single = _single(source, settings)
    if single is not None:
        yield single
    elif _PATTERN_CHARACTERS.search(source):
        yield from _matches(source, settings)
    else:
        folder = open_folder(source, settings)
        yield from (_ref(info) for info in folder.list())


def _hint(source: str) -> str:
    if source.startswith("@"):
        return "the manifest has no lines but blank ones and comments"
    if _PATTERN_CHARACTERS.search(source):
        return "nothing matches; `*` stays within one folder, `**/` stands for any number of them"
    return "no such file or folder, or it is empty; what begins with a name is written name*"


def _single(source: str, settings: StorageSettings) -> DocumentRef | None:
    """The source as one object, if there is one of exactly this name."""
    if is_s3_uri(source) and (source.endswith("/") or not split_uri(source)[1]):
        return None
    folder, key = open_object(source, settings)
    name = key.rpartition("/")[2]
    try:
        return _ref(folder.info(key), name)
    except NotFound:
        return None
    except ObjectError:  # what may not be looked at may yet be listed, before all that begins like it
        first = next(folder.list(key), None)
        return _ref(first, name) if first is not None and first.key == key else None


def _ref(info: ObjectInfo, name: str | None = None) -> DocumentRef:
    return DocumentRef(
        uri=info.uri,
        etag=info.etag,
        size_bytes=info.size_bytes,
        name=storable_name(info.key if name is None else name),
    )


def _matches(source: str, settings: StorageSettings) -> Iterator[DocumentRef]:
    """Objects below the last folder that the pattern names in full; names are relative to that folder."""
    first = _PATTERN_CHARACTERS.search(source)
    root_size = source.rfind("/", 0, first.start() if first else None) + 1
    root, pattern = source[:root_size] or ".", source[root_size:]
    folder = open_folder(root, settings)
    patterns = compile_pattern(pattern)
    literal = _PATTERN_CHARACTERS.split(pattern, maxsplit=1)[0]
    return (_ref(info) for info in folder.list(literal) if is_match(info.key.split("/"), patterns))


def compile_pattern(pattern: str) -> list[re.Pattern[str] | None]:
    """One expression for each part between slashes; None for `**`."""
    # `**` after `**` says no more than one, and would take time without bound.
    parts = [part for last, part in pairwise(["", *pattern.split("/")]) if part != "**" or last != "**"]
    return [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]


def is_match(parts: Sequence[str], patterns: Sequence[re.Pattern[str] | None]) -> bool:
    """Whether a key's parts match. None stands for any number of folders, and for everything at the end."""
    if not patterns or not parts:
        return not patterns and not parts
    if patterns[0] is None:
        rest = patterns[1:]
        return not rest or any(is_match(parts[skip:], rest) for skip in range(len(parts)))
    return patterns[0].match(parts[0]) is not None and is_match(parts[1:], patterns[1:])


def read_manifest(uri: str, settings: StorageSettings) -> Iterator[DocumentRef]:
    """The documents that a manifest lists, in its order: one URI or path a line, taken as it is; blank lines
    and lines that begin with `#` are passed over; relative paths start at the working directory.

    A line whose object is not there, or cannot be looked at, gives a reference without etag and of size -1.
    Neither the manifest nor the documents are held in memory.
    """
    with tempfile.TemporaryDirectory(prefix="quire-manifest-") as directory:
        path = Path(directory) / "manifest"
        folder, key = open_object(uri, settings)
        folder.download(key, path)
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
            entries = (line.rstrip("\r\n") for line in lines)
            wanted = (entry for entry in entries if entry.strip() and not entry.startswith("#"))
            yield from _looked_up(wanted, settings)


def _looked_up(uris: Iterable[str], settings: StorageSettings) -> Iterator[DocumentRef]:
    """One request a document, several at a time, results in order."""
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
        name = "/".join(split_uri(uri)) if is_s3_uri(uri) else _local_name(uri)
        canonical = storable_name(uri) if is_s3_uri(uri) else local_uri(local_path(uri))
        folder, key = open_object(uri, settings)
    except ConfigError:  # a URI of no kind that is read here
        return DocumentRef(storable_name(uri), "", -1, storable_name(uri))
    try:
        return _ref(folder.info(key), name)
    except ObjectError:
        return DocumentRef(canonical, "", -1, storable_name(name))


def _local_name(uri: str) -> str:
    """The path from the working directory if the file is below it, else from the root."""
    path = local_path(uri)
    here = os.path.join(os.getcwd(), "")
    return path.removeprefix(here).lstrip("/")


def _exclusion(exclude: Sequence[str]) -> Callable[[str], bool]:
    """Whether a URI lies in one of the folders. Local folders are known by any path that leads to them."""
    remote = tuple(_with_slash(uri) for uri in exclude if is_s3_uri(uri))
    local = tuple(_with_slash(os.path.realpath(local_path(uri))) for uri in exclude if not is_s3_uri(uri))

    def is_excluded(uri: str) -> bool:
        if is_s3_uri(uri):
            return uri.startswith(remote)
        try:
            return bool(local) and os.path.realpath(local_path(uri)).startswith(local)
        except (ConfigError, ValueError):  # a line of a manifest that is no path: its own error, later
            return False

    return is_excluded


def _with_slash(path: str) -> str:
    return path if path.endswith("/") else f"{path}/"
