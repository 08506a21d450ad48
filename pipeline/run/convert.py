"""Plan what is new, convert what is not done, finish. Does not know who asks, nor what is shown of it."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from quire.budget.gate import Gate
from quire.budget.prices import num_devices
from quire.config.extras import RAY, install
from quire.config.sections import StorageSettings
from quire.config.settings import Settings, ray_address
from quire.engines.choose import kind_of, pinned
from quire.errors import AccountingError, ConfigError, MissingDependency, RunStopped
from quire.flows.local import convert_with
from quire.flows.requirements import require, with_renderer
from quire.meters.bottleneck import Verdict
from quire.meters.metrics_port import metrics_port
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
from quire.run.inputs import Inputs
from quire.run.observer import Meter, Observer
from quire.run.plan import describe, num_committed_pages, plan_totals, plan_with
from quire.storage import Folder, open_folder
from quire.tables.keys import committed_shards


async def convert(
    inputs: Inputs, settings: Settings, use_ray: bool = False, observer: Observer | None = None
) -> Account:
    """Plan what is new, convert what is not done, finish, and return the ledger. Raises `RunStopped` if a limit or the
    canary ends it before; what is open by then is committed."""
    inputs.insist()
    observer = observer or Observer()
    folder = open_folder(inputs.output, settings.storage)
    settings = await asyncio.to_thread(with_renderer, settings, folder, observer.say)
    runs_here = not use_ray or ray_address(settings.ray) == "local"
    await asyncio.to_thread(require, settings, runs_here, use_ray)
    if (kind := kind_of(settings)).is_for_tests:
        observer.say(f"the engine {kind.name} is {kind.description}")
    settings = await asyncio.to_thread(pinned, _with_latents_folder(settings, inputs.output))
    account = await _convert_once(inputs, settings, use_ray, observer)
    if inputs.listing is None and await asyncio.to_thread(
        _is_there_again, account, inputs.output, settings.storage
    ):
        observer.say("bytes that were gone, or others, are there again: planning them anew")
        account = await _convert_once(replace(inputs, lost=account.lost), settings, use_ray, observer)
    return account


def _is_there_again(account: Account, output: str, storage: StorageSettings) -> bool:
    """Whether any object is again, or still, the one whose bytes could not be had when its pages were to be read. Where
    nights say what is live, the next one sees to that."""
    if not account.losses or has_nights(open_folder(output, storage)):
        return False
    lost = [loss.source for loss in account.losses if not loss.is_replaced]
    refs = looked_up((source.uri for source in lost), storage)
    return any(ref.etag == source.etag for source, ref in zip(lost, refs, strict=True))


async def _convert_once(inputs: Inputs, settings: Settings, use_ray: bool, observer: Observer) -> Account:
    async with Sandbox(settings.render, inputs.passwords) as sandbox:
        return await _convert(inputs, settings, use_ray, sandbox, observer)


async def _convert(
    inputs: Inputs, settings: Settings, use_ray: bool, sandbox: Sandbox, observer: Observer
) -> Account:
    if inputs.limit is not None:
        await asyncio.to_thread(_refuse_more_than, inputs.limit, open_folder(inputs.output, settings.storage))
    totals = await plan_with(sandbox, inputs, settings, observer)
    if use_ray:  # pages are rasterized elsewhere
        await sandbox.close()
    observer.say(describe(totals, settings))
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
            with observer.phase("converting", "page", totals.num_pages, num_done) as meter:
                watched = _Watched(gate, meter)
                if use_ray:
                    verdict = await _convert_on_ray(watched, inputs, settings, writer, observer)
                else:
                    verdict = await _convert_here(watched, inputs, settings, sandbox, writer)
        if verdict is not None:
            observer.say(str(verdict))
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


class Stopped(RunStopped):
    """With the ledger of what is done."""

    def __init__(self, reason: str, account: Account) -> None:
        super().__init__(reason)
        self.account = account


def _stopped(folder: Folder, reason: str, parts: Sequence[str]) -> Stopped:
    account = take_account(folder, parts=parts)
    if account.problems:
        account.insist()
    return Stopped(reason, account)


@dataclass(frozen=True, slots=True)
class _Watched:
    """What gives shards to convert, and what shows how it goes."""

    gate: Gate
    meter: Meter

    def show(self, counts: Mapping[str, int]) -> None:
        self.gate.observe(counts)
        self.meter.show(counts)

    async def shards(self, num_devices: float) -> Iterator[Shard] | None:
        """Those to convert, or None if there are none: then no engine need be loaded, and no machine asked for."""
        self.meter.wait_for("looking for what is left to do")
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
        wait_for = watched.meter.wait_for
        return await convert_with(sandbox, shards, settings, writer.write, observe, report, wait_for)


async def _convert_on_ray(
    watched: _Watched, inputs: Inputs, settings: Settings, writer: ShardWriter, observer: Observer
) -> Verdict | None:
    try:
        from quire.flows import on_ray
    except ImportError as exc:
        raise MissingDependency(f"--ray needs the package ray: {install([RAY])}") from exc
    watched.meter.wait_for("joining the cluster")
    cluster = on_ray.connect(settings.ray, settings.metrics.port)
    observer.joined_cluster()
    try:
        output_uri = open_folder(inputs.output, settings.storage).uri
        work = on_ray.Work(settings, output_uri, writer.provenance, inputs.passwords)
        shards = await watched.shards(num_devices(settings, on_ray.num_engines(settings)))
        if shards is None:
            return None
        return await on_ray.convert_on_ray(shards, work, watched.show, cluster, watched.meter.wait_for)
    finally:
        on_ray.disconnect(cluster)
