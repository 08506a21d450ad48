"""Settings from a TOML file, and `section.key=value` overrides from the command line; and where each came from.

Unknown keys are refused, with the nearest known one named. Does not know what the settings do.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from quire.config.described import Described, described
from quire.config.engines import KINDS, kind_named
from quire.config.page_choice import canonical
from quire.config.profiles import PROFILES
from quire.config.sections import EngineSettings
from quire.config.settings import Settings
from quire.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each chosen one, by "section.key", where it came from, in words. The others have their
    defaults."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(path: Path | None, overrides: Iterable[str] = ()) -> Settings:
    """Read settings from a TOML file, then apply overrides of the form `section.key=value`.

    Values of overrides are TOML values. What is no TOML value counts as a string; for a setting that is a list, `a,b`
    is a list. Raises `ConfigError`.
    """
    return load_with_origins(path, overrides).settings


def load_with_origins(path: Path | None, overrides: Iterable[str] = ()) -> Loaded:
    """As `load_settings`."""
    known = described()
    table = read_toml(path) if path else {}
    origins = dict.fromkeys(_names(table), str(path))
    for override in overrides:
        origins[_apply(override, table, known)] = "the command line"
    return _loaded(table, origins)


def settings_of(table: dict[str, Any]) -> Settings:
    """Settings from a table of sections, as TOML gives one. Raises `ConfigError`."""
    return _loaded(table, {}).settings


def _loaded(table: dict[str, Any], origins: Mapping[str, str]) -> Loaded:
    _refuse_unknown(table, Settings, "")
    table["engine"] = _with_profile(table.get("engine", {}))
    of_profile = dict.fromkeys(_names(table), f"the profile {table['engine'].get('profile')}")
    try:
        settings = TypeAdapter(Settings).validate_python(table)
    except ValidationError as exc:
        raise _refusal(exc, described()) from exc
    plan = dataclasses.replace(settings.plan, pages=canonical(settings.plan.pages))
    return Loaded(dataclasses.replace(settings, plan=plan), {**of_profile, **origins})


def _names(table: Mapping[str, Any]) -> list[str]:
    """The names of what is set in a table of sections. What is no section is refused elsewhere."""
    return [f"{section}.{key}" for section, keys in table.items() if isinstance(keys, dict) for key in keys]


def _refusal(error: ValidationError, known: Mapping[str, Described]) -> ConfigError:
    """The first mistake, and how to write it if that is not obvious."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    setting = known.get(".".join(str(part) for part in first["loc"][:2]))
    form = _right_form(setting) if setting else ""
    return ConfigError(f"setting {where}: {first['msg']} (given: {first['input']!r}){form}")


def _right_form(setting: Described) -> str:
    name = setting.full_name
    if setting.is_list:
        items, listed = ("1,2", "[1, 2]") if get_args(setting.kind)[0] is int else ("a,b", '["a", "b"]')
        return f"; write --set {name}={items}, or in a file {setting.name} = {listed}"
    if setting.is_table:
        pair = 'name = "value"'
        return f"; write --set '{name}={{{pair}}}', or in a file [{name}] and below it lines like {pair}"
    return ""


def _with_profile(engine: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section `[engine]` with its profile's defaults for what it does not set itself."""
    kind = kind_named(str(engine.get("name", EngineSettings().name)))
    profile = engine.get("profile") or kind.default_profile
    if not profile:
        return engine
    if profile not in PROFILES:
        raise ConfigError(f"unknown profile {profile!r}; there are: {', '.join(PROFILES)} (see `quire engines`)")
    if not kind.has_model:
        takers = " or ".join(other.name for other in KINDS if other.has_model)
        raise ConfigError(f"engine.profile goes with engine.name {takers}, not {kind.name!r}")
    return {**PROFILES[profile].engine_defaults(kind.is_server), **engine, "profile": profile}


def read_toml(path: Path) -> dict[str, Any]:
    """Raises `ConfigError` for a file that cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read the settings file {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the settings file {path} is not valid TOML: {exc}") from exc


def _apply(override: str, table: dict[str, Any], known: Mapping[str, Described]) -> str:
    """Set what the override says; returns its name."""
    name, equals, text = override.partition("=")
    name = name.strip()
    section, dot, key = name.partition(".")
    if not (equals and dot and key):
        raise ConfigError(f"cannot understand {override!r}: write section.key=value, like render.renderer=pdfium")
    keys = table.setdefault(section, {})
    if not isinstance(keys, dict):
        raise ConfigError(f"{section} is a section: write [{section}] in the settings file and its keys below")
    keys[key] = _value(text, known.get(name))
    return name


def _value(text: str, setting: Described | None) -> object:
    """The value that a person means by this text, for this setting."""
    value = _toml(text)
    if setting is None:
        return value
    if setting.is_list and not isinstance(value, list):
        return _list(text)
    return text if setting.kind is str and not isinstance(value, str) else value


def _list(text: str) -> object:
    """A list as people write it: `a,b`, or `[a, b]`, which is what a shell makes of `["a", "b"]`."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    elif inner.startswith("[") or inner.endswith("]"):
        return text
    items = _toml(f"[{inner}]")
    return items if isinstance(items, list) else [item.strip() for item in inner.split(",")]


def _toml(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


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
