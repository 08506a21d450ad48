"""The command `quire`: gathers the jobs and turns errors into messages and exit codes."""

from __future__ import annotations

import asyncio
import logging
import sys

import click

from jobs.cluster_jobs import jobs_group
from jobs.convert import convert_command
from jobs.doctor import doctor_command
from jobs.engines import engines_command
from jobs.nightly import EXIT_TOO_MANY_GONE, nightly_command
from jobs.plan import plan_command
from jobs.printable import printable_lines
from jobs.report import report_command
from jobs.status import EXIT_SUMS_DISAGREE, status_command
from jobs.submit import submit_command
from pipeline.errors import AccountingError, QuireError, RunStopped, TooManyGone

EXIT_ERROR = 1
EXIT_STOPPED = 6
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="quire")
@click.option("-v", "--verbose", count=True, help="Log shards (-v) or pages (-vv).")
def quire(verbose: int) -> None:
    """Turn buckets of documents into training data: every page accounted for, as Markdown and Parquet."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pipeline").setLevel(level)


for command in (
    plan_command,
    convert_command,
    nightly_command,
    status_command,
    report_command,
    submit_command,
    jobs_group,
    engines_command,
    doctor_command,
):
    quire.add_command(command)


def main() -> None:
    """Entry point. Errors that a person can act on are printed without a traceback."""
    try:
        exit_code = quire.main(standalone_mode=False)
        sys.exit(exit_code if isinstance(exit_code, int) else 0)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except AccountingError as exc:
        _fail(str(exc), EXIT_SUMS_DISAGREE)
    except RunStopped as exc:
        _fail(str(exc), EXIT_STOPPED)
    except TooManyGone as exc:
        _fail(str(exc), EXIT_TOO_MANY_GONE)
    except QuireError as exc:
        _fail(str(exc), EXIT_ERROR)
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        _fail("interrupted; what is committed stays, and running it again goes on from there", EXIT_INTERRUPTED)


def _fail(message: str, exit_code: int) -> None:
    click.echo(f"quire: {printable_lines(message)}", err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
