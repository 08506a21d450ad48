"""Tells results from documents, so that Quire never reads its own output.

A result is a file with the name of one, in a folder that has Quire's `quire.json`. Who wrote it and where the folder
lies do not matter. Other files between results are documents.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from quire.config.sections import StorageSettings
from quire.errors import ConfigError, StorageError
from quire.storage import open_folder
from quire.storage.uris import canonical_uri, is_remote, local_path

_FOLDERS = "documents|latents|limits|markdown|nights|pages|plan|report|timings|usage"
_PLACE = re.compile(rf"/(?=(?:{_FOLDERS})/|(?:quire|estimate)\.json$)")
_RESULT = re.compile(
    r"(?:quire|estimate)\.json|report/index\.html|markdown/.+\.md|latents/.+\.safetensors|(?:limits|usage)/[^/]+\.json"
    r"|(?:documents|nights|pages|plan|timings)/[^/]+\.parquet|nights/night-\d+\.txt",
    re.DOTALL,
)


def refuse_own_output(sources: Sequence[str], output: str) -> None:
    """Raise `ConfigError` if a source is the output folder or lies in it: it would be unclear what to read."""
    folder = _canonical(output)
    for source in sources:
        if not source.startswith("@") and _canonical(source).startswith(folder):
            raise ConfigError(
                f"the source {source} is the output folder {output}, or lies in it: write to another --output, which "
                "may lie beside the source or in it"
            )


def result_filter(output: str, settings: StorageSettings) -> Callable[[str], bool]:
    """A function that says whether a URI names a result of Quire: in `output` (empty: none), which may not exist yet,
    or in any folder of results."""
    own = _canonical(output) if output else None

    @lru_cache
    def holds_results(folder: str) -> bool:
        try:
            return _canonical(folder) == own or open_folder(folder, settings).exists("quire.json")
        except (
            ConfigError,
            StorageError,
        ):  # a manifest's line that is no path or is forbidden: it gets its own error later
            return False

    def is_result(uri: str) -> bool:
        return any(
            _RESULT.fullmatch(uri, place.end()) and holds_results(uri[: place.start()])
            for place in _PLACE.finditer(uri)
        )

    return is_result


def _canonical(uri: str) -> str:
    """One spelling for all paths that lead to a folder; ends in a slash."""
    if is_remote(uri):
        uri = canonical_uri(uri)
        return uri if uri.endswith("/") else f"{uri}/"
    return os.path.join(os.path.realpath(local_path(uri)), "")
