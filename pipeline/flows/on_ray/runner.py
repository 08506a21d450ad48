"""A shard runner, and its proxies for rasterizer and engines. It passes on references and never sees pixels.

Knows nothing of other runners, nor where shards come from.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from quire.conversion.shard import Converter, convert_shard
from quire.engines.choose import needs
from quire.engines.pool import EnginePool
from quire.errors import EngineDead, EngineFailure, ImageLost, PageRejected, QuireError
from quire.flows.converter import make_converter
from quire.flows.on_ray.homes import Homes
from quire.flows.on_ray.metrics import ray_report
from quire.flows.on_ray.workers import MAX_CALLS, Work, cause, is_loss, rasterize_chunk, remote
from quire.meters.bottleneck import FlowSums
from quire.meters.flow_meter import FlowMeter, every_tick
from quire.meters.metrics import Tally, tally
from quire.processes.background import run_beside
from quire.rasterize.held_image import HeldImage, Hold, Rasterized, hold_for_once
from quire.rasterize.known_page import rasterize_known_page
from quire.records import Failure, PageRange, PageResult, RasterizedPage, Recognition, Request, Shard
from quire.results.write import ShardWriter
from quire.storage import open_folder

_log = logging.getLogger(__name__)

MAX_LOSSES = 8  # of one chunk or shard, with processes or nodes that died, before the run gives up
PROBE_SECONDS = 0.5
_POLL_SECONDS = 0.005  # between looks for an image, which comes right after its page's record
PATIENCE_S = 900.0  # for an actor whose node is gone: another node may join

ImageRef = Any  # ray.ObjectRef of a PageImage


class Runner:
    """Runs `convert_shard` for the shards it is given, on its own engines."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._flow: tuple[Converter[ImageRef], FlowMeter[ImageRef]] | None = None
        self._open: dict[str, _OpenShard] = {}
        self._running: dict[str, asyncio.Task[Tally]] = {}
        self._watcher: asyncio.Task[None] | None = None

    async def convert(self, shard: Shard, engines: Sequence[Any]) -> Tally:
        """Returns what the shard adds to the counters. `engines` are this runner's own, the same in each call.

        A call whose connection was lost is made again: it joins the conversion that is still running.
        """
        if self._flow is None:
            self._flow = self._make_flow(engines)
        task = self._running.get(shard.shard_id)
        if task is None:
            opened = self._open[shard.shard_id] = (
                _OpenShard()
            )  # at once: `admitted` may be asked before the task runs
            task = asyncio.create_task(self._convert(shard, opened, *self._flow))
            self._running[shard.shard_id] = task
            task.add_done_callback(lambda _: self._running.pop(shard.shard_id))
        return await asyncio.shield(task)

    async def _convert(
        self, shard: Shard, opened: _OpenShard, converter: Converter[ImageRef], meter: FlowMeter[ImageRef]
    ) -> Tally:
        def see(page: PageResult) -> None:
            opened.counts.update(tally(page))
            meter.see_outcome()

        try:
            await convert_shard(shard, replace(converter, observe=see), opened.admitted.set)
        finally:
            opened.admitted.set()
            self._open.pop(shard.shard_id, None)
        return opened.counts

    async def admitted(self, shard_id: str) -> None:
        """Return when all pages of an open shard are admitted: the runner can begin another shard."""
        if opened := self._open.get(shard_id):
            await opened.admitted.wait()

    def _make_flow(self, engines: Sequence[Any]) -> tuple[Converter[ImageRef], FlowMeter[ImageRef]]:
        settings, output_uri = self._work.settings, self._work.output_uri
        hosts = [RayEngineHost(engine) for engine in engines]
        pool: EnginePool[ImageRef] = EnginePool(hosts, settings.engine, self._known_page)
        pool.start()
        folder = open_folder(output_uri, settings.storage)
        writer = ShardWriter(folder, self._work.provenance, settings.text)
        meter = FlowMeter(RayRasterizer(self._work), pool, ray_report(output_uri))
        converter = make_converter(settings, meter, meter, writer.write, lambda page: None)
        look = functools.partial(meter.look, converter.admission)
        self._watcher = run_beside("the meter of a runner", every_tick(look))
        return converter, meter

    async def _known_page(self, mode: str) -> Rasterized[ImageRef]:
        page, image = await rasterize_known_page(self._work.settings.render, mode)
        if image is None or page.image_info is None:
            return page, None
        return page, hold_for_once(page.page_index, page.image_info, ray.put(await image.get()))

    async def look(self) -> tuple[dict[str, Tally], FlowSums]:
        """What the open shards' pages add to the counters so far, and this runner's sums since its start."""
        counts = {shard_id: opened.counts for shard_id, opened in self._open.items()}
        return counts, self._flow[1].sums if self._flow else FlowSums()


@dataclass(frozen=True, slots=True)
class _OpenShard:
    counts: Tally = field(default_factory=Counter)
    admitted: asyncio.Event = field(default_factory=asyncio.Event)


RunnerActor = remote(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=MAX_CALLS)(Runner)


class RayRasterizer:
    """Fulfils the rasterizer contract with Ray tasks. Images stay on the node that made them; references come back."""

    def __init__(self, work: Work) -> None:
        self._work = ray.put(work)
        self._num_cpus = work.settings.ray.rasterizer_cpus or needs(work.settings).rasterizer_cpus
        self._homes = Homes()

    async def rasterize(
        self, source: PageRange, page_indices: Sequence[int], mode: str, hold: Hold[ImageRef]
    ) -> AsyncIterator[Rasterized[ImageRef]]:
        left = list(page_indices)
        for _ in range(MAX_LOSSES):
            strategy = await self._homes.strategy(source.doc_id)
            task = rasterize_chunk.options(num_cpus=self._num_cpus, scheduling_strategy=strategy)
            stream = task.remote(self._work, source, left, mode)
            try:
                while left:
                    page: RasterizedPage = await (await anext(stream))
                    info, image = page.image_info, None
                    if info is not None:
                        image = hold(page.page_index, info, await _next_unfetched(stream))
                    del left[0]
                    yield page, image
                return
            except (RayError, StopAsyncIteration) as exc:
                if not is_loss(exc):
                    raise cause(exc) from exc
                _log.warning("a rasterizer was lost with pages %s of %s: %r", left, source.uri, exc)
        raise QuireError(f"rasterizers were lost {MAX_LOSSES} times over pages {left} of {source.uri}")


async def _next_unfetched(stream: Any) -> ImageRef:
    """The next reference of a task's stream. Ray's own `anext` also fetches the object: pixels would come here, and if
    their node died on the way, Ray would try for ten minutes."""
    while not (stream.next_ready() or stream.is_finished()):
        await asyncio.sleep(_POLL_SECONDS)
    return await anext(stream)


class RayEngineHost:
    """One engine actor as its runner's pool sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._window = 1
        self._life = self._ended_life = ""

    @property
    def window(self) -> int:
        return self._window

    async def start(self) -> None:
        """Wait until the actor answers. "Died" is not final: Ray restarts the actor, on another node if its own is
        gone. An answer from the process that was just stopped does not count: Ray kills without waiting."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                life, self._window = await self._actor.start.remote()
                if life != self._ended_life:
                    self._life = life
                    return
            except RayTaskError as exc:
                raise cause(exc) from exc
            except RayError as exc:
                if asyncio.get_running_loop().time() > deadline:
                    raise EngineFailure(f"an engine did not come back within {PATIENCE_S:g} s: {exc}") from exc
            await asyncio.sleep(PROBE_SECONDS)

    async def recognize(self, page: HeldImage[ImageRef], request: Request) -> Recognition:
        """Two calls, to free the image early: Ray keeps a call's arguments until it returns, and the first call returns
        as soon as the engine has read the pixels."""
        try:
            ticket = await self._actor.begin.remote([await page.get()], request)
            page.let_go()
            answer, self._window = await self._actor.finish.remote(ticket)
        except RayActorError as exc:
            raise EngineDead(str(exc).splitlines()[0]) from exc
        except RayError as exc:
            if not is_loss(exc):
                raise cause(exc) from exc
            raise ImageLost(str(exc)) from exc  # the node that made the image, or held it, is gone
        if isinstance(answer, Failure):
            raise PageRejected(answer.kind, answer.message)
        recognition: Recognition = answer
        return recognition

    async def stop(self) -> None:
        """End the actor's process; Ray starts a new one."""
        self._ended_life = self._life
        await asyncio.to_thread(ray.kill, self._actor, no_restart=False)
