"""`python -m quire.jobs.settings_reference FILE`: docs/settings.md from the settings themselves (`make reference`)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from quire.config.described import Described, described, sections
from quire.config.settings_template import toml

_HEADING = """\
# Settings

Made by `make reference` from what `quire settings` shows; do not edit it by hand.

All settings, by section. They are given in a TOML file (`--config quire.toml`), or one by one
(`--set section.name=value`), which wins over the file; the commands' own options are short forms of some.
`quire settings` prints all of them as such a file, and with options what would be in force and where it comes from.
No environment variable sets any of them.

Lists: `--set engine.modes=base,gundam`, or `modes = ["base", "gundam"]` in a file. Tables:
`--set 'vllm.extra={name = "value"}'`, or `[vllm.extra]` in a file and below it lines like `name = "value"`.

Settings with a • change results: an output folder holds results of one choice of them.
"""


def reference() -> str:
    """The document."""
    settings = list(described().values())
    parts = [
        "\n".join(_section(name, meaning, [s for s in settings if s.section == name]))
        for name, meaning in sections().items()
    ]
    return "\n".join([_HEADING, *parts])


def _section(name: str, meaning: str, settings: Iterable[Described]) -> Iterator[str]:
    yield f"## [{name}]\n\n{meaning.replace(chr(10), chr(10) * 2)}\n"
    yield "| setting | default | values | meaning |\n|---|---|---|---|"
    for setting in settings:
        mark = " •" if setting.changes_results else ""
        default = "not set" if setting.default is None else f"`{toml(setting.default)}`"
        cells = (f"`{setting.name}`{mark}", default, setting.allowed, setting.meaning)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
