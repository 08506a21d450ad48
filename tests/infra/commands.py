"""Whether a command line that stands in a file is one that Quire takes. Runs none."""

from __future__ import annotations

from collections.abc import Sequence

import click

from quire.jobs.cli import quire
from quire.jobs.options import settings_from_parameters
from quire.jobs.submit import submit_command


def check_quire(words: Sequence[str]) -> None:
    """Parses as `jobs/cli.py` would, down to the settings. Raises click's errors and `ConfigError`."""
    program, name, *arguments = words
    assert program == "quire"
    root = click.Context(quire, **quire.context_settings)  # a command remembers how its first one asks for help
    command = quire.get_command(root, name)
    assert command is not None, f"there is no command {name}"
    context = command.make_context(name, list(arguments), parent=root)
    if name == submit_command.name:
        check_quire(["quire", context.params["command"], *context.params["arguments"]])
    elif "overrides" in context.params:
        settings_from_parameters(context.params)
