"""The command `quire`: finds the jobs and turns errors into messages and exit codes."""

from __future__ import annotations

import asyncio
import errno
import importlib
import io
import logging
import os
import sys

import click

from quire.errors import (
    AccountingError,
    ConfigError,
    DamagedResults,
    NothingThere,
    QuireError,
    RunStopped,
    SettingsChanged,
    StoreMisconfigured,
    TooManyGone,
)
from quire.jobs.answer import Answer
from quire.jobs.ending import run_process
from quire.jobs.exit_codes import (
    EXIT_ERROR,
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_STOPPED,
    EXIT_SUMS_DISAGREE,
    EXIT_TOO_MANY_GONE,
    EXIT_WRONG_USAGE,
)
from quire.jobs.printable import printable_lines
from quire.secrets import redacted

_REMEDIES = {
    errno.EMFILE: "let this process open more files (ulimit -n)",
    errno.ENFILE: "let this machine open more files",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in the quota",
    errno.ENOMEM: "give this machine more memory",
}
"""Of what this machine may lack anywhere."""
_EXIT_CODES: dict[tuple[type[QuireError], ...], int] = {
    (AccountingError, DamagedResults): EXIT_SUMS_DISAGREE,
    (RunStopped,): EXIT_STOPPED,
    (TooManyGone,): EXIT_TOO_MANY_GONE,
    (ConfigError, SettingsChanged, NothingThere, StoreMisconfigured): EXIT_WRONG_USAGE,
    (QuireError,): EXIT_ERROR,
}
"""The first that fits."""
_INTERRUPTED = "interrupted; what is committed stays, and running it again goes on from there"
_COMMANDS = {
    "plan": ("quire.jobs.plan:plan_command", "List and probe documents; say what a run will take."),
    "convert": ("quire.jobs.convert:convert_command", "Convert documents to Markdown and Parquet."),
    "nightly": ("quire.jobs.nightly:nightly_command", "Take in what is new, changed or gone; say what changed."),
    "status": ("quire.jobs.status:status_command", "Show the progress, outcomes and failures of a run."),
    "report": ("quire.jobs.report:report_command", "Show a run on one HTML page."),
    "submit": ("quire.jobs.submit:submit_command", "Run a command on a Ray cluster, and watch it."),
    "jobs": ("quire.jobs.cluster_jobs:jobs_group", "List, show, follow and stop the jobs of a Ray cluster."),
    "engines": ("quire.jobs.engines:engines_command", "List the engines, and the models with a profile."),
    "doctor": ("quire.jobs.doctor:doctor_command", "Check that an engine works here; say what to do if not."),
    "settings": ("quire.jobs.settings:settings_command", "List all settings, and where each value comes from."),
    "completion": (
        "quire.jobs.completion:completion_command",
        "Print a script by which your shell completes quire's words.",
    ),
}
"""By name: where it is, and what it does."""


class _Commands(click.Group):
    """Imports a command only when it is used, so --help and each command start without the imports of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in sorted(_COMMANDS.items())])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="quire-ocr")
@click.option("-v", "--verbose", count=True, help="Log shards (-v) or pages (-vv).")
def quire(verbose: int) -> None:
    """Turn buckets of documents into training data: every page accounted for, as Markdown and Parquet."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setFormatter(_WithoutSecrets("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("quire").setLevel(level)


class _WithoutSecrets(logging.Formatter):
    """Libraries' log messages do not pass through our errors, so secrets are removed here."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def process() -> None:
    """`main` as a process of its own; `jobs/start.py` has the entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not have every character
    run_process(main, f"quire: {_INTERRUPTED}")


def main() -> None:
    """Run the command and exit. What goes wrong is told in words, without a traceback."""
    answer = Answer()
    exit_code, reason = _run(answer)
    try:
        if answer.is_wanted:
            click.echo(answer.as_json(exit_code, reason))
        sys.stdout.flush()  # here: at exit the interpreter would print its own message for a failure
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # as of `| head`, which closed the pipe: nothing to report
            exit_code = EXIT_ERROR
        elif reason is None:
            exit_code, _ = _tell(error)
    sys.exit(exit_code)


def _run(answer: Answer) -> tuple[int, str | None]:
    """The command's exit code, and why it did not finish; None if it did."""
    try:
        _insist_on_utf8()
        exit_code = quire.main(standalone_mode=False, obj=answer)
    except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
        return _tell(error)
    return (exit_code if isinstance(exit_code, int) else 0), None


def _insist_on_utf8() -> None:
    """URIs are made from file names, so another encoding would give other URIs."""
    if (encoding := sys.getfilesystemencoding()) != "utf-8":
        raise ConfigError(
            f"this environment has Python read names of files as {encoding}: set PYTHONUTF8=1, or a UTF-8 locale"
        )


def _tell(error: BaseException) -> tuple[int, str]:
    """Say on stderr what went wrong. Returns the exit code, and the same in words."""
    if isinstance(error, click.ClickException):
        words = io.StringIO()
        error.show(words)
        click.echo(redacted(words.getvalue()), nl=False, err=True)
        return error.exit_code, redacted(error.format_message())
    exit_code, message = _ending_of(error)
    click.echo(f"quire: {printable_lines(message)}", err=True)
    return exit_code, message


def _ending_of(error: BaseException) -> tuple[int, str]:
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError, click.Abort)):
        return EXIT_INTERRUPTED, _INTERRUPTED
    if isinstance(error, QuireError):
        return next(code for kinds, code in _EXIT_CODES.items() if isinstance(error, kinds)), str(error)
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return EXIT_ERROR, redacted(f"{error}: {_REMEDIES[error.errno]}, and run again: it goes on")
    from quire.jobs.fault import fault_in_words  # which no command needs

    return EXIT_FAULT, fault_in_words(error)


if __name__ == "__main__":
    process()
