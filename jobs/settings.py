"""`quire settings`: every setting, its allowed values and its meaning; and which value is in force with these options,
and why."""

from __future__ import annotations

from typing import Any

import click

from quire.config.described import sections
from quire.config.settings_template import template
from quire.jobs.options import load_from, settings_options


@click.command("settings")
@click.argument("section", nargs=-1, metavar="[SECTION]...", type=click.Choice(list(sections())))
@settings_options
def settings_command(section: tuple[str, ...], **options: Any) -> None:
    """Print all settings, or those of a SECTION, as a TOML file that --config takes.

    With --config, --set, --engine and the like, it holds what would be in force, and says of each value where it comes
    from: the file, the command line, a model's profile; the rest is as by default.

    \b
        quire settings > quire.toml                        a file to begin with
        quire settings engine --engine vllm                what the engine vllm is asked
        quire convert … --config quire.toml
    """
    click.echo(template(load_from(**options), section), nl=False)
