"""The command `quire`: finds the jobs and turns errors into messages and exit codes."""

from __future__ import annotations

import asyncio
import errno
import importlib
import io
import logging
import sys
import traceback
from types import TracebackType

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
from quire.jobs.ending import run_process
from quire.jobs.exit_codes import (
    EXIT_ERROR,
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
_INTERRUPTED = "interrupted; what is committed stays, and running it again goes on from there"
_COMMANDS = {
    "plan": "quire.jobs.plan:plan_command",
    "convert": "quire.jobs.convert:convert_command",
    "nightly": "quire.jobs.nightly:nightly_command",
    "status": "quire.jobs.status:status_command",
    "report": "quire.jobs.report:report_command",
    "submit": "quire.jobs.submit:submit_command",
    "jobs": "quire.jobs.cluster_jobs:jobs_group",
    "engines": "quire.jobs.engines:engines_command",
    "doctor": "quire.jobs.doctor:doctor_command",
    "settings": "quire.jobs.settings:settings_command",
    "completion": "quire.jobs.completion:completion_command",
}


class _Commands(click.Group):
    """Imports a command when it is asked for: no command waits for what only others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


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
    """What libraries log is none of our errors."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def process() -> None:
    """Entry point: `main` as a process of its own."""
    sys.excepthook = _show_bug
    run_process(main, f"quire: {_INTERRUPTED}")


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own words for an error that nobody expected, without the secrets that it may quote."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def main() -> None:
    """Run the command and exit. Errors that a person can act on are printed without a traceback."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":  # a URI is made of a file's name, and would be another one elsewhere
        _fail(
            f"this environment has Python read names of files as {encoding}: set PYTHONUTF8=1, or a UTF-8 locale",
            EXIT_WRONG_USAGE,
        )
    try:
        exit_code = quire.main(standalone_mode=False)
        sys.exit(exit_code if isinstance(exit_code, int) else 0)
    except click.ClickException as exc:
        words = io.StringIO()
        exc.show(words)
        click.echo(redacted(words.getvalue()), nl=False, err=True)
        sys.exit(exc.exit_code)
    except (AccountingError, DamagedResults) as exc:
        _fail(str(exc), EXIT_SUMS_DISAGREE)
    except RunStopped as exc:
        _fail(str(exc), EXIT_STOPPED)
    except TooManyGone as exc:
        _fail(str(exc), EXIT_TOO_MANY_GONE)
    except (ConfigError, SettingsChanged, NothingThere, StoreMisconfigured) as exc:
        _fail(str(exc), EXIT_WRONG_USAGE)
    except QuireError as exc:
        _fail(str(exc), EXIT_ERROR)
    except OSError as exc:
        if exc.errno not in _REMEDIES:
            raise
        _fail(f"{exc}: {_REMEDIES[exc.errno]}, and run again: it goes on", EXIT_ERROR)
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        _fail(_INTERRUPTED, EXIT_INTERRUPTED)


def _fail(message: str, exit_code: int) -> None:
    click.echo(f"quire: {printable_lines(message)}", err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    process()
