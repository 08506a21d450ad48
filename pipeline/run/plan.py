"""From inputs to the plan in the output folder, and its totals."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from quire.config.settings import Settings, pages_per_shard
from quire.engines.choose import kind_of, pinned
from quire.engines.ladder import ladder
from quire.flows.requirements import with_renderer
from quire.planning.limits import Limit, first, forget_limit, note_limit
from quire.planning.plan import plan
from quire.planning.plan_index import load_index
from quire.planning.plan_log import part_keys, read_part, read_totals, shards_of
from quire.planning.probe import Prober
from quire.quantities import counted, device_time
from quire.rasterize.modes import layout
from quire.rasterize.sandbox import Sandbox
from quire.records import Document, DocumentRef, DocumentStatus
from quire.results.run_folder import claim, fingerprint_in, note_versions, refuse_other_settings
from quire.run.inputs import Inputs
from quire.run.observer import Observer
from quire.storage import Folder, open_folder
from quire.storage.cache_folder import open_cache
from quire.tables.keys import committed_shards

_A4_PT = (595, 842)


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


async def make_plan(inputs: Inputs, settings: Settings, observer: Observer | None = None) -> PlanTotals:
    """Bring the plan in the output folder up to date; returns the totals of all of it."""
    inputs.insist()
    folder = open_folder(inputs.output, settings.storage)
    observer = observer or Observer()
    settings = await asyncio.to_thread(with_renderer, settings, folder, observer.say)
    settings = await asyncio.to_thread(pinned, settings)  # as `convert` does, or it would find other settings
    async with Sandbox(settings.render, inputs.passwords) as sandbox:
        return await plan_with(sandbox, inputs, settings, observer)


async def plan_with(sandbox: Sandbox, inputs: Inputs, settings: Settings, observer: Observer) -> PlanTotals:
    """`make_plan` with processes that go on to convert. `inputs` make sense, and `settings` leave nothing open."""
    check_modes([request.mode for request in ladder(settings.engine)])
    folder = open_folder(inputs.output, settings.storage)
    await asyncio.to_thread(refuse_other_settings, folder, settings)
    fingerprint = await asyncio.to_thread(fingerprint_in, folder, settings)
    if changes := await asyncio.to_thread(note_versions, folder):
        observer.say(f"{folder.uri} was begun with other versions: {changes}; what is read now may differ")
    cache = open_cache(settings.flow, settings.storage)
    prober = Prober(cache, sandbox, settings.plan)
    counts: Counter[str] = Counter()
    with observer.phase("planning", "document") as meter:
        meter.wait_for("listing the sources")

        async def probe(ref: DocumentRef) -> Document:
            document = await prober.probe(ref)
            counts[document.status.value] += 1
            meter.show(counts)
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
