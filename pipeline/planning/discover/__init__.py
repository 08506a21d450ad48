"""Sources as a person writes them → the documents below them, in a stable order.

    s3://bucket/folder/       /data/in      everything below, whatever its name
    s3://bucket/a.pdf         /data/a.pdf   one document
    s3://bucket/in/**/*.pdf   in/*.pdf      what matches: `*` `?` `[…]` in a name, `**` for any folders
    @s3://bucket/list.txt     @list.txt     a manifest: one URI or path a line
    https://host/a.pdf                      one document, which cannot be listed

`gs://` and `az://` work like `s3://`.

    patterns.py    what matches
    manifest.py    what a list names
    results.py     what is skipped: Quire's own results, wherever they lie
    leftovers.py   files that programs leave beside documents, which are recorded as ignored
    reference.py   what planning gets of an object

If an object or a folder of exactly this name exists, the name is no pattern, even if it looks like one. Nothing is
opened: planning finds out what a document is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quire.config.sections import StorageSettings
from quire.errors import NotFound, NothingThere, ObjectError
from quire.planning.discover.manifest import looked_up, manifest_lines, read_manifest
from quire.planning.discover.patterns import PATTERN_CHARACTERS, compile_pattern, is_match
from quire.planning.discover.reference import reference
from quire.planning.discover.results import refuse_own_output, result_filter
from quire.records import DocumentRef
from quire.storage import open_folder, open_object
from quire.storage.uris import is_listable, is_remote, object_name, split_uri

__all__ = ["discover", "looked_up", "manifest_lines", "read_manifest", "refuse_own_output"]


def discover(sources: Sequence[str], settings: StorageSettings, output: str = "") -> Iterator[DocumentRef]:
    """The documents of each source in turn; those of one source in the order of their keys' bytes.

    Leaves out results of Quire, those in `output` included. A document that two sources share comes twice. Raises
    NothingThere when it reaches a source that does not exist or has nothing to read.
    """
    is_result = result_filter(output, settings)
    for source in dict.fromkeys(sources):
        num_found = num_results = 0
        try:
            for ref in _documents(source, settings):
                if is_result(ref.uri):
                    num_results += 1
                else:
                    num_found += 1
                    yield ref
        except NotFound as exc:  # a bucket, a manifest
            raise NothingThere(str(exc)) from exc
        if not num_found:
            raise NothingThere(f"there are no documents at {source}: {_hint(source, num_results)}")


def _documents(source: str, settings: StorageSettings) -> Iterator[DocumentRef]:
    if source.startswith("@"):
        yield from read_manifest(source[1:], settings)
        return
    single = _single(source, settings)
    if single is not None:
        yield single
        return
    root, pattern = _split(source, settings)
    folder = open_folder(root, settings)
    patterns = compile_pattern(pattern)
    literal = PATTERN_CHARACTERS.split(pattern, maxsplit=1)[0]
    for info in folder.list(literal):
        if not pattern or is_match(info.key.split("/"), patterns):
            yield reference(info)


def _hint(source: str, num_results: int) -> str:
    if num_results:
        return f"all that is there are {num_results} results of Quire"
    if PATTERN_CHARACTERS.search(source):
        return "nothing matches; `*` stays within one folder, `**/` stands for any number of them"
    return "no such file or folder, or it is empty; what begins with a name is written name*"


def _single(source: str, settings: StorageSettings) -> DocumentRef | None:
    """The source as one object, if there is one of exactly this name."""
    if is_remote(source) and is_listable(source) and (source.endswith("/") or not split_uri(source)[1]):
        return None
    folder, key = open_object(source, settings)
    name = object_name(source, key.rpartition("/")[2])
    try:
        return reference(folder.info(key), name)
    except NotFound:
        if not is_listable(source):
            raise
        return None
    except ObjectError:  # without permission to look it up it may still be listed, and comes first there
        if not is_listable(source):
            raise
        first = next(folder.list(key), None)
        return reference(first, name) if first is not None and first.key == key else None


def _split(source: str, settings: StorageSettings) -> tuple[str, str]:
    """The last folder that a source names in full, and the pattern below it (empty if the source is a folder). Names of
    results are relative to that folder."""
    if not PATTERN_CHARACTERS.search(source):
        return source, ""
    root, rest = "", source
    while rest:
        name, slash, after = rest.partition("/")
        is_pattern = PATTERN_CHARACTERS.search(name)
        if not (_has_documents(f"{root}{name}", settings) if is_pattern else slash):
            break
        root, rest = f"{root}{name}/", after
    return root or ".", rest


def _has_documents(folder: str, settings: StorageSettings) -> bool:
    try:
        return next(open_folder(folder, settings).list(), None) is not None
    except ObjectError:
        return False
