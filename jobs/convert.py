"""`quire convert`: documents in, accounted-for Markdown and Parquet out."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from quire.budget.gate import Gate
from quire.budget.prices import num_devices
from quire.config.extras import RAY, install
from quire.config.sections import StorageSettings
from quire.config.settings import Settings, ray_address
from quire.engines.choose import kind_of, pinned
from quire.errors import AccountingError, ConfigError, MissingDependency, RunStopped
from quire.flows.local import convert_with
from quire.flows.requirements import require, with_renderer
from quire.jobs.answer import begin_answer, json_option
from quire.jobs.ending import heed_sigterm, run
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
from quire.jobs.plan import Inputs, describe, num_committed_pages, plan_totals, plan_with
from quire.jobs.retry import retry_option, with_failed
from quire.jobs.status import books, describe_account, describe_limits
from quire.meters.bottleneck import Verdict
from quire.meters.metrics_port import metrics_port
from quire.meters.progress import Progress
from quire.nights.log import has_nights
from quire.planning.discover import looked_up
from quire.planning.plan_log import part_keys, read_part
from quire.quantities import counted
from quire.rasterize.sandbox import Sandbox
from quire.records import PageResult, Shard
from quire.results.finish import finish
from quire.results.ledger import Account, take_account
from quire.results.run_folder import provenance
from quire.results.write import ShardWriter
from quire.storage import Folder, open_folder
from quire.tables.keys import committed_shards


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
        account = run(convert(inputs, settings, use_ray=ray is not None))
    except _Stopped as stopped:
        answer.fields = books(stopped.account)
        raise
    answer.fields = books(account)
    click.echo(describe_account(account))
    for line in describe_limits(open_folder(output, settings.storage)):
        click.echo(line)
    if told := describe_outcome(open_folder(output, settings.storage)):
        click.echo(told)
    markdown = f"Markdown: {output}/markdown   " if settings.text.write_markdown_files else ""
    click.echo(f"{markdown}Parquet: {output}/pages, {output}/documents   Plan: {output}/plan")
    if account.has_losses(settings.flow.max_failed_share):
        context.exit(EXIT_FAILED_PAGES)


async def convert(inputs: Inputs, settings: Settings, use_ray: bool) -> Account:
    """Plan what is new, convert what is not done, finish, and return the books. Raises `RunStopped` if a limit or the
    canary ends it before; what is open by then is committed."""
    inputs.insist()
    folder = open_folder(inputs.output, settings.storage)
    settings = await asyncio.to_thread(with_renderer, settings, folder, functools.partial(click.echo, err=True))
    runs_here = not use_ray or ray_address(settings.ray) == "local"
    await asyncio.to_thread(require, settings, runs_here, use_ray)
    if (kind := kind_of(settings)).is_for_tests:
        click.echo(f"the engine {kind.name} is {kind.description}", err=True)
    settings = await asyncio.to_thread(pinned, _with_latents_folder(settings, inputs.output))
    account = await _convert_once(inputs, settings, use_ray)
    if inputs.listing is None and await asyncio.to_thread(
        _is_there_again, account, inputs.output, settings.storage
    ):
        click.echo("bytes that were gone, or others, are there again: planning them anew", err=True)
        account = await _convert_once(replace(inputs, lost=account.lost), settings, use_ray)
    return account


def _is_there_again(account: Account, output: str, storage: StorageSettings) -> bool:
    """Whether any object is again, or still, the one whose bytes could not be had when its pages were to be read. Where
    nights say what is live, the next one sees to that."""
    if not account.losses or has_nights(open_folder(output, storage)):
        return False
    lost = [loss.source for loss in account.losses if not loss.is_replaced]
    refs = looked_up((source.uri for source in lost), storage)
    return any(ref.etag == source.etag for source, ref in zip(lost, refs, strict=True))


async def _convert_once(inputs: Inputs, settings: Settings, use_ray: bool) -> Account:
    async with Sandbox(settings.render, inputs.passwords) as sandbox:
        return await _convert(inputs, settings, use_ray, sandbox)


async def _convert(inputs: Inputs, settings: Settings, use_ray: bool, sandbox: Sandbox) -> Account:
    if inputs.limit is not None:
        await asyncio.to_thread(_refuse_more_than, inputs.limit, open_folder(inputs.output, settings.storage))
    totals = await plan_with(sandbox, inputs, settings)
    if use_ray:  # pages are rasterized elsewhere
        await sandbox.close()
    click.echo(describe(totals, settings), err=True)
    folder = open_folder(inputs.output, settings.storage)
    writer = ShardWriter(folder, provenance(folder, settings), settings.text)
    # Another run may plan documents into this output meanwhile: go on until nothing planned is left undone.
    num_before = -1
    while (num_done := await asyncio.to_thread(num_committed_pages, folder, totals.parts)) < totals.num_pages:
        if num_done == num_before:
            num_missing = counted(totals.num_pages - num_done, "page")
            raise AccountingError(f"{folder.uri} lacks {num_missing} that this run has converted")
        num_before = num_done
        async with Gate(folder, settings, totals.num_shards) as gate:
            with Progress("converting", "page", totals.num_pages, num_done) as progress:
                watched = _Watched(gate, progress)
                if use_ray:
                    verdict = await _convert_on_ray(watched, inputs, settings, writer)
                else:
                    verdict = await _convert_here(watched, inputs, settings, sandbox, writer)
        if verdict is not None:
            click.echo(str(verdict), err=True)
        if gate.reason:
            raise await asyncio.to_thread(_stopped, folder, gate.reason, totals.parts)
        totals = await asyncio.to_thread(plan_totals, folder)
    return await asyncio.to_thread(finish, folder, writer, totals.parts)


def _with_latents_folder(settings: Settings, output: str) -> Settings:
    """Where latents go unless it is said."""
    if settings.engine.latents_uri:
        return settings
    uri = open_folder(output, settings.storage).child("latents").uri
    return replace(settings, engine=replace(settings.engine, latents_uri=uri))


def _refuse_more_than(limit: int, folder: Folder) -> None:
    """Raise `ConfigError` where more documents than the limit wait to be converted: it would hold none of them back."""
    done = committed_shards(folder)
    parts = (read_part(folder, key) for key in part_keys(folder))
    num_open = sum(not done.issuperset(planned.shard_ids) for part in parts for planned in part)
    if num_open > limit:
        raise ConfigError(
            f"{counted(num_open, 'document')} planned in {folder.uri} wait, more than --limit {limit}: run "
            "without it to convert them, or write to another --output"
        )


class _Stopped(RunStopped):
    """With the books of what is done."""

    def __init__(self, reason: str, account: Account) -> None:
        super().__init__(reason)
        self.account = account


def _stopped(folder: Folder, reason: str, parts: Sequence[str]) -> _Stopped:
    """Shows the books."""
    account = take_account(folder, parts=parts)
    click.echo(describe_account(account), err=True)
    if account.problems:
        account.insist()
    return _Stopped(reason, account)


@dataclass(frozen=True, slots=True)
class _Watched:
    """What gives shards to convert, and what shows how it goes."""

    gate: Gate
    progress: Progress

    def show(self, counts: Mapping[str, int]) -> None:
        self.gate.observe(counts)
        self.progress.show(counts)

    async def shards(self, num_devices: float) -> Iterator[Shard] | None:
        """Those to convert, or None if there are none: then no engine need be loaded, and no machine asked for."""
        self.progress.wait_for("looking for what is left to do")
        shards = self.gate.shards(num_devices)
        first = await asyncio.to_thread(next, shards, None)
        return None if first is None else itertools.chain([first], shards)


async def _convert_here(
    watched: _Watched, inputs: Inputs, settings: Settings, sandbox: Sandbox, writer: ShardWriter
) -> Verdict | None:
    counts: Counter[str] = Counter()

    def observe(page: PageResult) -> None:
        counts[page.outcome.value] += 1
        watched.show(counts)

    shards = await watched.shards(num_devices(settings, None))
    if shards is None:
        return None
    with metrics_port(settings.metrics, open_folder(inputs.output, settings.storage).uri) as report:
        wait_for = watched.progress.wait_for
        return await convert_with(sandbox, shards, settings, writer.write, observe, report, wait_for)


async def _convert_on_ray(
    watched: _Watched, inputs: Inputs, settings: Settings, writer: ShardWriter
) -> Verdict | None:
    try:
        from quire.flows import on_ray
    except ImportError as exc:
        raise MissingDependency(f"--ray needs the package ray: {install([RAY])}") from exc
    watched.progress.wait_for("joining the cluster")
    cluster = on_ray.connect(settings.ray, settings.metrics.port)
    heed_sigterm()  # joining a cluster installs a handler of Ray's own
    try:
        output_uri = open_folder(inputs.output, settings.storage).uri
        work = on_ray.Work(settings, output_uri, writer.provenance, inputs.passwords)
        shards = await watched.shards(num_devices(settings, on_ray.num_engines(settings)))
        if shards is None:
            return None
        return await on_ray.convert_on_ray(shards, work, watched.show, cluster, watched.progress.wait_for)
    finally:
        on_ray.disconnect(cluster)
