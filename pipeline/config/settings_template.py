"""All settings as a TOML file with comments, which `settings_file.py` reads back.

A setting that nobody chose is a comment: `#` without a blank, then its default. Without the `#` it changes nothing.
Secrets are left out. Does not know what the settings do.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any

from quire.config.described import Described, described, sections
from quire.config.settings_file import Loaded
from quire.secrets import without_secrets

_WIDTH = 110
_BARE_KEY = re.compile(r"[\w-]+", re.ASCII)
_HEADING = (
    "Settings of Quire. A line that begins with # and no blank is a setting as it is by default: take the # away to "
    "change it, and give the file to --config. What is not a comment was chosen, and says where."
)


def template(loaded: Loaded, only: Sequence[str] = ()) -> str:
    """The file, with all sections or only with these."""
    values = dataclasses.asdict(loaded.settings)
    settings = described().values()
    lines = [_comment(_HEADING)]
    for section, meaning in sections().items():
        if only and section not in only:
            continue
        lines += ["", *map(_comment, meaning.splitlines()), f"[{section}]"]
        for setting in settings:
            if setting.section == section:
                lines += _lines(setting, values[section][setting.name], loaded.origins.get(setting.full_name, ""))
    return "\n".join(lines) + "\n"


def _lines(setting: Described, value: Any, origin: str) -> Iterator[str]:
    results = "; changes results" if setting.changes_results else ""
    yield _comment(f"{setting.meaning} ({setting.allowed}{results})")
    if value is None:
        yield f"# {setting.name} is not set"
        return
    shown = without_secrets(json_value(value))
    left_out = "" if shown == json_value(value) else "; without the secrets that it holds"
    line = f"{setting.name} = {toml(shown)}"
    yield f"{line}  # from {origin}{left_out}" if origin else f"#{line}"


def toml(value: Any) -> str:
    """A value in TOML, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case Mapping():
            pairs = (f"{_key(name)} = {toml(inner)}" for name, inner in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case _:
            return str(value)


def json_value(value: Any) -> Any:
    """Tuples as lists."""
    return list(value) if isinstance(value, tuple) else value


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else toml(name)


def _comment(text: str) -> str:
    return fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
