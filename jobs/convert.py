"""`quire convert`: documents in, accounted-for Markdown and Parquet out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quire.jobs.answer import begin_answer, json_option
from quire.jobs.ending import run
from quire.jobs.estimate import describe_outcome
from quire.jobs.exit_codes import EXIT_FAILED_PAGES
from quire.jobs.options import (
    cost_options,
    flow_options,
    limit_option,
    limit_options,
    read_passwords,
    settings_from,
    settings_options,
    sources_and_output,
)
from quire.jobs.retry import retry_option, with_failed
from quire.jobs.status import describe_account, describe_limits, ledger_fields
from quire.jobs.terminal import Terminal
from quire.nights.log import has_nights
from quire.run.convert import Stopped, convert
from quire.run.inputs import Inputs
from quire.storage import open_folder


@click.command("convert")
@sources_and_output
@limit_option
@settings_options
@flow_options
@cost_options
@limit_options
@retry_option
@json_option
@click.pass_context
def convert_command(
    context: click.Context,
    /,
    sources: tuple[str, ...],
    manifest: tuple[str, ...],
    output: str,
    passwords: Path | None,
    limit: int | None,
    ray: str | None,
    retry_failed: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert the documents of SOURCES into Markdown and Parquet below --output.

    SOURCES are prefixes or objects in s3://, gs:// or az://, https:// documents, local folders or files, or globs like
    'docs/**/*.pdf' (quoted).
    Running it again goes on where it was stopped, takes what is new, and repeats nothing that is done.

    \b
    Exit codes: 0  every page is accounted for and was read, or as many as --max-failed-share wants
                3  every page is accounted for; some pages or documents failed or are doubtful, each with its reason
                6  stopped by a limit or by the canary; goes on with a higher limit, another bound or --no-canary
                4  the sums do not agree, or a file of the results is damaged
                1  stopped by an error: run it again; 70 by a fault of Quire: report it
                2  wrong usage: the same command would end so again; 130 interrupted
    """
    answer = begin_answer(context, as_json)
    settings = settings_from(ray=ray, **options)
    inputs = Inputs(sources, manifest, output, read_passwords(passwords), limit=limit)
    if retry_failed is not None:
        if has_nights(open_folder(output, settings.storage)):
            raise click.UsageError(f"what is live in {output} is told by its nights: quire nightly --retry-failed")
        inputs = with_failed(inputs, settings, retry_failed)
    try:
        account = run(convert(inputs, settings, ray is not None, Terminal()))
    except Stopped as stopped:
        click.echo(describe_account(stopped.account), err=True)
        answer.fields = ledger_fields(stopped.account)
        raise
    answer.fields = ledger_fields(account)
    click.echo(describe_account(account))
    for line in describe_limits(open_folder(output, settings.storage)):
        click.echo(line)
    if told := describe_outcome(open_folder(output, settings.storage)):
        click.echo(told)
    markdown = f"Markdown: {output}/markdown   " if settings.text.write_markdown_files else ""
    click.echo(f"{markdown}Parquet: {output}/pages, {output}/documents   Plan: {output}/plan")
    if account.has_losses(settings.flow.max_failed_share):
        context.exit(EXIT_FAILED_PAGES)
