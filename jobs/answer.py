"""What a command has to say to a machine: with --json one object on stdout, however the command ends.

All other output, also that of libraries and child processes, goes to stderr. Knows no keys but `exit_code` and
`reason`; `jobs/cli.py` prints the object.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Answer:
    """`is_wanted` since --json was given; `fields` are what the command has to say. Kept as `click.Context.obj`."""

    is_wanted: bool = False
    fields: dict[str, Any] = field(default_factory=dict)

    def as_json(self, exit_code: int, reason: str | None) -> str:
        """`reason`: why the command did not finish; None if it did."""
        return json.dumps({"exit_code": exit_code, "reason": reason, **self.fields}, indent=2)


def json_option(command: _Command) -> _Command:
    """--json, as `as_json`."""
    option = click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON object, also where the command fails; all else goes to stderr. Its keys are in "
        "docs/operations.md.",
    )
    return option(command)


def begin_answer(context: click.Context, as_json: bool) -> Answer:
    """The answer for the command to put its fields into. With --json, what it prints from now on goes to stderr."""
    answer = context.ensure_object(Answer)
    if as_json:
        answer.is_wanted = True
        context.with_resource(_stdout_to_stderr())
    return answer


@contextmanager
def _stdout_to_stderr() -> Generator[None]:
    """For Python and for child processes."""
    stdout, saved = sys.stdout, os.dup(1)
    stdout.flush()
    sys.stdout = sys.stderr
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        sys.stdout = stdout
