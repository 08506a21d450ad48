"""`quire plan`: what is there, what it will take. Needs CPUs only, costs no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quire.engines.choose import pinned
from quire.engines.ladder import ladder
from quire.estimate.record import to_json
from quire.flows.requirements import with_renderer
from quire.jobs.ending import run
from quire.jobs.estimate import describe_estimate, make_estimate
from quire.jobs.options import (
    cost_options,
    limit_option,
    read_passwords,
    settings_from,
    settings_options,
    sources_and_output,
)
from quire.jobs.status import describe_limits
from quire.jobs.terminal import Terminal
from quire.run.inputs import Inputs
from quire.run.plan import check_modes, describe, make_plan
from quire.storage import open_folder


@click.command("plan")
@sources_and_output
@limit_option
@settings_options
@cost_options
@click.option(
    "--estimate",
    is_flag=True,
    help="Do not plan: list everything, look at a sample of the documents, and say with intervals what a run will take "
    "and cost. Kept in the output folder for `quire convert` to compare with.",
)
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Documents to look at for an estimate.")
@click.option(
    "--pages-per-gpu-day",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="What a GPU (a core) was measured to read, in place of what is reckoned.",
)
@click.option(
    "--engines", type=click.IntRange(min=1), metavar="N", help="How many will work, for the finish time."
)
@click.option("--json", "as_json", is_flag=True, help="Print the estimate as one JSON object.")
def plan_command(
    sources: tuple[str, ...],
    manifest: tuple[str, ...],
    output: str,
    passwords: Path | None,
    limit: int | None,
    estimate: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """List and probe the documents of SOURCES and write the plan to --output.

    SOURCES are prefixes or objects in s3://, gs:// or az://, https:// documents, local folders or files, or globs like
    'docs/**/*.pdf' (quoted).
    Planning again looks only at what is new or has changed.
    """
    settings = settings_from(**options)
    inputs = Inputs(sources, manifest, output, read_passwords(passwords), limit=limit)
    if estimate:
        if limit is not None or settings.plan.pages:
            raise click.UsageError(
                "--estimate reckons with all documents and pages: leave out --limit and --pages"
            )
        inputs.insist()
        check_modes([request.mode for request in ladder(settings.engine)])
        folder = open_folder(output, settings.storage)
        settings = pinned(with_renderer(settings, folder, Terminal().say))
        made = run(make_estimate(folder, inputs.refs(settings), settings, inputs.passwords))
        click.echo(to_json(made) if as_json else describe_estimate(made))
        return
    if as_json:
        raise click.UsageError("--json goes with --estimate")
    totals = run(make_plan(inputs, settings, Terminal()))
    click.echo(describe(totals, settings))
    for line in describe_limits(open_folder(output, settings.storage)):
        click.echo(line)
    click.echo(f"The plan is in {output}/plan. Next: quire convert with the same arguments.")
