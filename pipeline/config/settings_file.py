"""Settings from a TOML file, and `section.key=value` overrides from the command line.

Unknown keys are refused, with the nearest known one named. Does not know what the settings do.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from quire.config.profiles import DEFAULT_PROFILES, PROFILES
from quire.config.settings import Settings
from quire.errors import ConfigError


def load_settings(path: Path | None, overrides: Iterable[str] = ()) -> Settings:
    """Read settings from a TOML file, then apply overrides of the form `section.key=value`.

    Values of overrides are TOML values; what is no TOML value counts as a string. Raises `ConfigError`.
    """
    table = read_toml(path) if path else {}
    for override in overrides:
        _apply(override, table)
    return settings_of(table)


def settings_of(table: dict[str, Any]) -> Settings:
    """Settings from a table of sections, as TOML gives one. Raises `ConfigError`."""
    _refuse_unknown(table, Settings, "")
    table["engine"] = _with_profile(table.get("engine", {}))
    try:
        return TypeAdapter(Settings).validate_python(table)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"setting {where}: {first['msg']} (given: {first['input']!r})") from exc


def _with_profile(engine: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section `[engine]` with its profile's defaults for what it does not set itself."""
    name = engine.get("name")
    profile = engine.get("profile") or DEFAULT_PROFILES.get(str(name), "")
    if not profile:
        return engine
    if profile not in PROFILES:
        raise ConfigError(f"unknown profile {profile!r}; there are: {', '.join(PROFILES)} (see `quire engines`)")
    if name not in DEFAULT_PROFILES:
        raise ConfigError(f"engine.profile goes with engine.name {' or '.join(DEFAULT_PROFILES)}, not {name!r}")
    return {**PROFILES[profile].engine_defaults(str(name)), **engine, "profile": profile}


def read_toml(path: Path) -> dict[str, Any]:
    """Raises `ConfigError` for a file that cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read the settings file {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the settings file {path} is not valid TOML: {exc}") from exc


def _apply(override: str, table: dict[str, Any]) -> None:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ConfigError(f"cannot understand {override!r}: write section.key=value, like render.renderer=pdfium")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    keys = table.setdefault(section, {})
    if not isinstance(keys, dict):
        raise ConfigError(f"{section} is a section: write [{section}] in the settings file and its keys below")
    keys[key] = value


def _refuse_unknown(table: Mapping[str, Any], kind: type, prefix: str) -> None:
    known = get_type_hints(kind)  # without the ranges, which pydantic checks
    for name, value in table.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"unknown setting {prefix}{name}; the nearest known one is {prefix}{near}")
        if dataclasses.is_dataclass(known[name]) and isinstance(known[name], type):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{prefix}{name} is a section: write [{prefix}{name}] and its keys below")
            _refuse_unknown(value, known[name], f"{prefix}{name}.")
