"""The output folder of a run: `quire.json`, which says what may be written into it.

One folder holds the results of one set of result-changing settings. A run with others is refused, and told which
setting differs and what to do. The settings themselves are compared, not their fingerprint. So a version of Quire that
has new settings, or computes fingerprints in another way, can go on with an existing folder, under the fingerprint that
the folder was begun with. Other versions of Quire and of its libraries are accepted, recorded and reported. No secret
is written to this file.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

from quire.config.results import default_result_settings, fingerprint, result_settings
from quire.config.settings import Settings
from quire.engines.choose import model_name
from quire.errors import DamagedResults, NotFound, NothingThere, SettingsChanged
from quire.secrets import without_secrets
from quire.storage import Folder
from quire.versions import changes, installed, successions

KEY = "quire.json"

_ENGINE = "engine.name"


def claim(folder: Folder, settings: Settings) -> None:
    """Claim the folder, or join the run that owns it and sweep its unfinished writes. Raises `SettingsChanged`."""
    mine = {
        "quire_version": version(),
        "fingerprint": fingerprint(settings),
        "settings": result_settings(settings),
        "versions": installed(),
    }
    if folder.put_if_absent(KEY, _as_bytes(mine)):
        return
    _insist(folder, read(folder)["settings"], result_settings(settings))
    folder.sweep()


def refuse_other_settings(folder: Folder, settings: Settings) -> None:
    """Raise `SettingsChanged` if the folder belongs to a run with other settings. Writes nothing. A model's revision
    and a renderer are compared only if they are known: the run decides what is still open."""
    try:
        theirs = read(folder)["settings"]
    except NotFound:
        return
    mine = result_settings(settings)
    if "engine.model_revision" in mine and not mine["engine.model_revision"]:
        mine["engine.model_revision"] = theirs.get("engine.model_revision")
    if settings.render.renderer is None and "render.renderer" in theirs:
        mine["render.renderer"] = theirs["render.renderer"]
    _insist(folder, theirs, mine)


def fingerprint_in(folder: Folder, settings: Settings) -> str:
    """The fingerprint of results with these settings in this folder. If they are the folder's own, it is the one in its
    `quire.json`: an earlier version of Quire may have computed it in another way."""
    try:
        described = read(folder)
    except NotFound:
        return fingerprint(settings)
    is_theirs = not _changed(described["settings"], result_settings(settings))
    return str(described["fingerprint"]) if is_theirs else fingerprint(settings)


def note_versions(folder: Folder) -> str:
    """Record the installed versions if they are new to the folder. Returns in words which versions differ from those
    that the folder was begun with; empty if none does, or if there is no `quire.json` yet."""
    try:
        described = read(folder)
    except NotFound:
        return ""
    first, *later = history = versions_of(described)
    now = {"quire": version(), **installed()}
    if successions([*history, now]) != successions(history):
        described["later_versions"] = [*later, now]
    if (data := _as_bytes(described)) != folder.get(KEY):  # also if the file held a secret
        folder.put(KEY, data)
    return changes([first, now])


def read(folder: Folder) -> dict[str, Any]:
    """The folder's `quire.json`, without the secrets that earlier versions of Quire left in it. Raises `NothingThere`
    where there is none, and `DamagedResults`."""
    try:
        described: dict[str, Any] = json.loads(folder.get(KEY))
        for name in ("quire_version", "fingerprint", "versions"):
            described[name]
        return {**described, "settings": without_secrets(described["settings"])}
    except NotFound as exc:
        raise NothingThere(f"{folder.uri} is no output folder of Quire: it has no {KEY}") from exc
    except (ValueError, TypeError, KeyError) as exc:
        raise DamagedResults(
            f"{folder.uri}/{KEY} is damaged: bring it back from a copy; or, if you are sure of the settings that the "
            "results were made with, delete it and run again with these, which writes it anew"
        ) from exc


def versions_of(described: Mapping[str, Any]) -> list[dict[str, str]]:
    """Versions by package, Quire included, from what `read` gives: first those that the folder was begun with, then
    those of later runs that had others."""
    first = {"quire": described["quire_version"], **described["versions"]}
    return [first, *described.get("later_versions", ())]


def provenance(folder: Folder, settings: Settings) -> dict[str, str]:
    """The columns that are the same for every page of a run into the folder."""
    return {
        "engine": settings.engine.name,
        "model": model_name(settings),
        "model_revision": settings.engine.model_revision,
        "quire_version": version(),
        "config_fingerprint": fingerprint_in(folder, settings),
    }


def version() -> str:
    return importlib.metadata.version("quire-ocr")


def _as_bytes(described: Mapping[str, Any]) -> bytes:
    return json.dumps(described, indent=2, sort_keys=True).encode() + b"\n"


def _insist(folder: Folder, theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    if changed := _changed(theirs, mine):
        raise SettingsChanged(_explain(folder, changed))


def _changed(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> dict[str, str]:
    """The settings that differ, each with its values in words. One that did not exist when the folder was begun counts
    as having today's default. One that only one of two engines has does not count as changed."""
    if theirs.get(_ENGINE) == mine[_ENGINE]:
        theirs = {**default_result_settings(mine[_ENGINE]), **theirs}
        names = theirs.keys() | mine.keys()
    else:
        names = theirs.keys() & mine.keys()
    changed = (name for name in sorted(names) if name not in mine or theirs[name] != mine[name])
    return {name: f"was {theirs[name]!r}, now {_now(name, mine)}" for name in changed}


def _now(name: str, mine: Mapping[str, Any]) -> str:
    return repr(mine[name]) if name in mine else "unknown: another version of Quire has this setting"


def _explain(folder: Folder, changed: Mapping[str, str]) -> str:
    lines = [f"  {name}: {words}" for name, words in changed.items()]
    if any(folder.list("pages/")):
        first, last = (
            "holds results made",
            "Write to another --output, or run with the settings above as they were.",
        )
    else:
        first, last = "is planned", "Nothing is converted there yet: delete it, or write to another --output."
    return "\n".join([f"{folder.uri} {first} with other settings:", *lines, last])
