"""`quire plan`: what is there, what it will take. Needs CPUs only, costs no GPU."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from quire.config.settings import Settings, pages_per_shard
from quire.engines.choose import kind_of, pinned
from quire.engines.ladder import ladder
from quire.errors import ConfigError
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
from quire.meters.progress import Progress
from quire.planning.discover import discover, refuse_own_output
from quire.planning.limits import Limit, first, forget_limit, note_limit
from quire.planning.plan import plan
from quire.planning.plan_index import load_index
from quire.planning.plan_log import part_keys, read_part, read_totals, shards_of
from quire.planning.probe import Prober
from quire.quantities import counted, device_time
from quire.rasterize.modes import layout
from quire.rasterize.sandbox import Sandbox
from quire.records import DocumentRef, DocumentStatus
from quire.results.run_folder import claim, fingerprint_in, note_versions, refuse_other_settings
from quire.storage import Folder, open_folder
from quire.storage.cache_folder import open_cache
from quire.storage.uris import SHARED_STORES, is_listable
from quire.tables.keys import committed_shards

_A4_PT = (595, 842)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run reads and where it writes."""

    sources: tuple[str, ...]
    manifests: tuple[str, ...]
    output: str
    passwords: tuple[str, ...] = ()
    listing: tuple[DocumentRef, ...] | None = None  # where the sources were listed already
    lost: frozenset[tuple[str, str]] = frozenset()  # to be planned again; see `PlanIndex`
    retry: tuple[DocumentStatus, ...] = (DocumentStatus.UNREADABLE,)  # likewise
    limit: int | None = None  # only so many of the first documents, in the order of the sources and their listings

    @property
    def names(self) -> list[str]:
        """The sources, and the manifests as sources."""
        return [*self.sources, *(f"@{manifest}" for manifest in self.manifests)]

    def insist(self) -> None:
        """Raise `ConfigError` where it cannot be said what is to be read and written."""
        if not self.sources and not self.manifests:
            raise ConfigError("nothing to read: name a bucket, folder, glob or file, or give --manifest FILE")
        if not all(name.removeprefix("@").strip() for name in (*self.sources, *self.manifests, self.output)):
            raise ConfigError("a source, a manifest or --output is empty: is a variable of your script not set?")
        if not is_listable(self.output):
            raise ConfigError(f"web servers are read from only: write to {SHARED_STORES} or a local folder")
        refuse_own_output(self.sources, self.output)

    def refs(self, settings: Settings) -> Iterator[DocumentRef]:
        """All objects of the sources, then of the manifests. Results are never an input."""
        if self.listing is not None:
            yield from self.listing
            return
        yield from discover(self.names, settings.storage, self.output)


def check_modes(modes: Sequence[str]) -> None:
    """Refuse modes that do not exist before anything is fetched."""
    for mode in modes:
        layout(mode, *_A4_PT)


@dataclass(frozen=True, slots=True)
class PlanTotals:
    """A plan in numbers. `documents`, by status; `pages`, those of converted documents; `parts`, the keys of the
    parts that are counted: another run may add to the plan at any time."""

    parts: tuple[str, ...]
    documents: Counter[str]
    num_pages: int
    num_bytes: int
    num_shards: int
    num_again: int  # of the documents: they take the place of others that are counted, too


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
    settings = pinned(settings_from(**options))
    inputs = Inputs(sources, manifest, output, read_passwords(passwords), limit=limit)
    if estimate:
        if limit is not None or settings.plan.pages:
            raise click.UsageError(
                "--estimate reckons with all documents and pages: leave out --limit and --pages"
            )
        inputs.insist()
        check_modes([request.mode for request in ladder(settings)])
        folder = open_folder(output, settings.storage)
        settings = with_renderer(settings, folder, functools.partial(click.echo, err=True))
        made = run(make_estimate(folder, inputs.refs(settings), settings, inputs.passwords))
        click.echo(to_json(made) if as_json else describe_estimate(made))
        return
    if as_json:
        raise click.UsageError("--json goes with --estimate")
    totals = run(make_plan(inputs, settings))
    click.echo(describe(totals, settings))
    for line in describe_limits(open_folder(output, settings.storage)):
        click.echo(line)
    click.echo(f"The plan is in {output}/plan. Next: quire convert with the same arguments.")


async def make_plan(inputs: Inputs, settings: Settings) -> PlanTotals:
    """Bring the plan in the output folder up to date; returns the totals of all of it."""
    inputs.insist()
    folder = open_folder(inputs.output, settings.storage)
    settings = await asyncio.to_thread(with_renderer, settings, folder, functools.partial(click.echo, err=True))
    async with Sandbox(settings.render, inputs.passwords) as sandbox:
        return await plan_with(sandbox, inputs, settings)


async def plan_with(sandbox: Sandbox, inputs: Inputs, settings: Settings) -> PlanTotals:
    """`make_plan` with processes that go on to convert."""
    inputs.insist()
    check_modes([request.mode for request in ladder(settings)])
    folder = open_folder(inputs.output, settings.storage)
    await asyncio.to_thread(refuse_other_settings, folder, settings)
    fingerprint = await asyncio.to_thread(fingerprint_in, folder, settings)
    if changes := await asyncio.to_thread(note_versions, folder):
        click.echo(f"{folder.uri} was begun with other versions: {changes}; what is read now may differ", err=True)
    cache = open_cache(settings.flow, settings.storage)
    limits = settings.plan
    prober = Prober(cache, sandbox, limits.max_document_mb << 20, limits.max_document_pages, limits.num_fetches)
    counts: Counter[str] = Counter()
    with Progress("planning", "document") as progress:
        progress.wait_for("listing the sources")

        async def probe(ref: DocumentRef) -> Any:
            document = await prober.probe(ref)
            counts[document.status.value] += 1
            progress.show(counts)
            return document

        refs, retry = _limited(inputs, settings, folder), [*inputs.retry]
        if inputs.passwords:
            retry.append(DocumentStatus.ENCRYPTED)
        # Not before there is something to plan: a command with a mistake is to lock no folder.
        own = functools.partial(claim, folder, settings)
        shards = replace(settings.plan, pages_per_shard=pages_per_shard(settings))
        async for _ in plan(folder, refs, probe, shards, fingerprint, retry, inputs.lost, own):
            pass
    await asyncio.to_thread(own)
    if inputs.limit is None:
        await asyncio.to_thread(forget_limit, folder, inputs.names)
    return await asyncio.to_thread(plan_totals, folder)


def _limited(inputs: Inputs, settings: Settings, folder: Folder) -> Iterator[DocumentRef]:
    """What is to be planned. That others are left out is noted before the last part is planned."""
    refs = inputs.refs(settings)
    if inputs.limit is None:
        return refs
    limit = Limit(tuple(inputs.names), inputs.limit)

    def left_out(ref: DocumentRef) -> None:
        if not load_index(folder).knows(ref):  # or an earlier run went further
            note_limit(folder, limit)

    return first(refs, inputs.limit, left_out)


def plan_totals(folder: Folder) -> PlanTotals:
    parts = tuple(part_keys(folder))
    totals = [read_totals(folder, key) for key in parts]
    return PlanTotals(
        parts=parts,
        documents=sum((Counter(part.documents) for part in totals), Counter()),
        num_pages=sum(part.num_pages for part in totals),
        num_bytes=sum(part.num_bytes for part in totals),
        num_shards=sum(part.num_shards for part in totals),
        num_again=sum(part.num_again for part in totals),
    )


def describe(totals: PlanTotals, settings: Settings) -> str:
    """The totals in words, with what converting will take where a figure for the engine is known."""
    by_status = ", ".join(f"{number} {status}" for status, number in totals.documents.most_common())
    lines = [
        f"{counted(totals.documents.total(), 'document')} ({by_status or 'none'}), {totals.num_bytes / 1e6:,.1f} MB",
        f"{counted(totals.num_pages, 'page')} in {counted(totals.num_shards, 'shard')}",
    ]
    if totals.num_again:
        lines[0] += f"; {totals.num_again:,} of them planned again"
    seconds = kind_of(settings).core_seconds_per_page
    if seconds:
        needed = device_time(totals.num_pages * seconds / 3600, "core")
        lines.append(f"about {needed} with {settings.engine.name} ({seconds:g} core-seconds a page)")
    return "\n".join(lines)


def num_committed_pages(folder: Folder, parts: Sequence[str]) -> int:
    """Pages of the shards of these parts of the plan that are written."""
    done = committed_shards(folder)
    if not done:
        return 0
    shards = (shard for key in parts for shard in shards_of(read_part(folder, key)))
    return sum(shard.num_pages for shard in shards if shard.shard_id in done)
