"""A cluster in virtual time: the real shards, queue, admission, `convert_shard` and engine pool; simulated engines,
rasterizers, nodes and commits.

    store with the real plan ─ ShardQueue ─► runners ─► convert_shard ─► EnginePool ─► simulated engines
                                                             └─► simulated rasterizers, simulated commit

The structure is that of `pipeline/flows/on_ray/`: a runner owns the engines of one node and has several shards open.
Nodes are lost at random times; a lost node is replaced after a while, and its engines load their model again. What was
in flight on them is tried again; a runner that was on the node begins its open shards anew.

An engine is `window` slots; a page holds one for a time drawn from a log-normal distribution with a tail. So an engine
that is half full reads half as fast, which is pessimistic: a real one would read the rest a little faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quire.config.settings import Settings
from quire.conversion.shard import ShardQueue, convert_shard
from quire.engines.held_image import HeldImage, Hold, Rasterized, hold_for_once
from quire.engines.pool import EnginePool
from quire.errors import EngineDead
from quire.flows.converter import make_converter
from quire.jobs.bench.virtual_time import VirtualTimeLoop
from quire.records import (
    ImageInfo,
    PageRange,
    PageResult,
    PageTiming,
    RasterizedPage,
    Recognition,
    Request,
    Shard,
)

_GUNDAM_BYTES = 10_500_000  # pixels of an A4 page at that mode
_PREFILL_SECONDS = 1.0  # until an engine has read the pixels
_FETCH_SECONDS = 0.1  # of a chunk's document, cached or not
_RUNNER_SECONDS = 10.0  # until an actor is up again on another node
_SAMPLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """`pages_per_s`: of all engines when every slot is busy. `losses_per_hour`: of a node. `render_s`: CPU of a page.
    `commit_s`: of a shard. `node_s` and `load_s`: until a lost node is replaced, and its models are loaded."""

    num_nodes: int = 20
    engines_per_node: int = 8
    window: int = 256
    pages_per_s: float = 33e6 / 86400
    tail_share: float = 0.02
    tail_factor: float = 20.0  # of the median
    spread: float = 0.5  # sigma of the other pages' log-normal distribution
    rasterizers_per_node: int = 64
    render_s: float = 0.03
    commit_s: float = 3.0
    losses_per_hour: float = 0.0
    node_s: float = 180.0
    load_s: float = 120.0
    are_runners_safe: bool = False  # on nodes that are not lost, apart from their engines

    @property
    def num_slots(self) -> int:
        return self.num_nodes * self.engines_per_node * self.window

    @property
    def median_s(self) -> float:
        """Of a page in its slot, such that all slots together read `pages_per_s`."""
        mean_factor = (1 - self.tail_share) * math.exp(self.spread**2 / 2) + self.tail_share * self.tail_factor
        return self.num_slots / self.pages_per_s / mean_factor

    def draw_seconds(self, draw: random.Random) -> float:
        if draw.random() < self.tail_share:
            return self.tail_factor * self.median_s
        return self.median_s * math.exp(draw.gauss(0.0, self.spread))


@dataclass(slots=True)
class Run:
    """What happened. `samples`: (seconds, slots busy). `rows`: pages by committed shard. `fed_s`: when the queue was
    empty. `read_s` and `busy_s`: of slots, for pages that were answered and for all."""

    samples: list[tuple[float, int]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    num_read: int = 0  # answers of engines
    num_cut_short: int = 0  # pages that were in flight on an engine when it was lost
    num_nodes_lost: int = 0
    num_commits_late: int = 0  # of a shard that was committed before
    peak_open_shards: int = 0  # of one runner
    seconds: float = 0.0
    fed_s: float = math.inf
    read_s: float = 0.0
    busy_s: float = 0.0

    @property
    def num_pages(self) -> int:
        return sum(self.rows.values())

    def busy_share(self, num_slots: int, start_s: float, stop_s: float) -> float:
        busy = [busy for at, busy in self.samples if start_s <= at < stop_s]
        return sum(busy) / len(busy) / num_slots if busy else 0.0

    @property
    def wasted_share(self) -> float:
        """Of the slots' busy time: what was cut short, and what was read and lost before it was committed."""
        return 1 - self.read_s / self.num_read * self.num_pages / self.busy_s


class _Node:
    """Eight engines' machine. `lost` is that of its present life."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.is_up = asyncio.Event()
        self.is_up.set()

    async def live(self, cluster: Cluster, draw: random.Random, run: Run) -> None:
        while cluster.losses_per_hour:
            await asyncio.sleep(draw.expovariate(cluster.losses_per_hour / 3600))
            run.num_nodes_lost += 1
            self.is_up.clear()
            self.lost.set()
            await asyncio.sleep(cluster.node_s)
            self.lost = asyncio.Event()
            self.is_up.set()


class _Engine:
    """Fulfils `EngineHost`."""

    def __init__(self, node: _Node, cluster: Cluster, draw: random.Random, run: Run) -> None:
        self._node, self._cluster, self._draw, self._run = node, cluster, draw, run
        self.num_busy = 0

    @property
    def window(self) -> int:
        return self._cluster.window

    async def start(self) -> None:
        await self._node.is_up.wait()
        await self._work(self._cluster.load_s)

    async def recognize(self, page: HeldImage[None], request: Request) -> Recognition:
        await page.get()
        self.num_busy += 1
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            await self._work(_PREFILL_SECONDS)
            page.let_go()
            await self._work(self._cluster.draw_seconds(self._draw) - _PREFILL_SECONDS)
            self._run.num_read += 1
            self._run.read_s += clock() - started
        except EngineDead:
            self._run.num_cut_short += 1
            raise
        finally:
            self.num_busy -= 1
            self._run.busy_s += clock() - started
        return Recognition("read", num_output_tokens=1000)

    async def stop(self) -> None:
        """A node's loss is what ends it."""

    async def _work(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._node.lost.wait()
            raise EngineDead("the node is gone")


class SimulatedRasterizer:
    """A node's CPUs. Fulfils the rasterizer contract; an image is the name of its page, and a size."""

    def __init__(self, cluster: Cluster) -> None:
        self._places = asyncio.Semaphore(cluster.rasterizers_per_node)
        self._render_s = cluster.render_s

    async def rasterize(
        self, source: PageRange, page_indices: Sequence[int], mode: str, hold: Hold[Any]
    ) -> AsyncIterator[Rasterized[Any]]:
        info = ImageInfo(mode, 724, 1024, 903, 88.0, "", _GUNDAM_BYTES)
        async with self._places:
            await asyncio.sleep(_FETCH_SECONDS)
            for page_index in page_indices:
                await asyncio.sleep(self._render_s)
                page = RasterizedPage(page_index, "simulated", self._render_s, image_info=info)
                yield page, hold(page_index, info, f"{source.doc_id} {page_index}")


async def _known_page(mode: str) -> Rasterized[Any]:
    info = ImageInfo(mode, 724, 1024, 903, 88.0, "", 0)
    return RasterizedPage(0, "simulated", 0.0, image_info=info), hold_for_once(0, info, "Quire's own")


class _Runner:
    """What `on_ray.runner.Runner` and the driver's feeder do for one group of engines."""

    def __init__(
        self, homes: Iterator[_Node], engines: Sequence[_Engine], cluster: Cluster, settings: Settings, run: Run
    ) -> None:
        self._homes, self._engines, self._cluster, self._settings, self._run = (
            homes,
            engines,
            cluster,
            settings,
            run,
        )
        self._attempts: set[asyncio.Task[None]] = set()
        self._is_up = asyncio.Event()
        self._turn = asyncio.Lock()

    async def live(self, spend: Callable[[float], None]) -> None:
        """One life after the other; each knows nothing of the one before."""

        def write(shard: Shard, results: Sequence[PageResult], timings: Sequence[PageTiming]) -> bool:
            spend(self._cluster.commit_s)
            self._run.num_commits_late += shard.shard_id in self._run.rows
            self._run.rows[shard.shard_id] = len(results)
            return True

        rasterizer = SimulatedRasterizer(self._cluster)
        for home in self._homes:
            await home.is_up.wait()
            patient = replace(self._settings.engine, stuck_after_s=math.inf, start_timeout_s=math.inf)
            pool: EnginePool[Any] = EnginePool(self._engines, patient, _known_page)
            pool.start()
            self._converter = make_converter(self._settings, rasterizer, pool, write, lambda page: None)
            self._is_up.set()
            await (asyncio.Event() if self._cluster.are_runners_safe else home.lost).wait()
            self._is_up.clear()
            for attempt in self._attempts:
                attempt.cancel()
            await pool.close()
            await asyncio.sleep(_RUNNER_SECONDS)

    async def feed(self, queue: ShardQueue) -> None:
        async with asyncio.TaskGroup() as feeders:
            for _ in range(self._settings.flow.open_shards):
                feeders.create_task(self._feed(queue))

    async def _feed(self, queue: ShardQueue) -> None:
        while True:
            async with self._turn:
                shard = await queue.take()
                if shard is None:
                    self._run.fed_s = min(self._run.fed_s, asyncio.get_running_loop().time())
                    return
                attempt = await self._begin(shard)
            while not await _is_over(attempt):
                attempt = await self._begin(shard)

    async def _begin(self, shard: Shard) -> asyncio.Task[None]:
        """Returns when all pages of the shard are admitted."""
        await self._is_up.wait()
        admitted = asyncio.Event()
        attempt = asyncio.create_task(convert_shard(shard, self._converter, admitted.set))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)
        attempt.add_done_callback(lambda _: admitted.set())
        self._run.peak_open_shards = max(self._run.peak_open_shards, len(self._attempts))
        await admitted.wait()
        return attempt


async def _is_over(attempt: asyncio.Task[None]) -> bool:
    """Wait for an attempt at a shard; False if it was lost. Raises what it raises."""
    await asyncio.wait([attempt])
    if attempt.cancelled():
        return False
    attempt.result()
    return True


async def convert_simulated(
    loop: VirtualTimeLoop, shards: Iterable[Shard], cluster: Cluster, settings: Settings, seed: int = 0
) -> Run:
    """Convert all shards. The same seed gives the same run."""
    draw, run = random.Random(seed), Run()
    nodes = [_Node() for _ in range(cluster.num_nodes)]
    engines = [[_Engine(node, cluster, draw, run) for _ in range(cluster.engines_per_node)] for node in nodes]
    # Ray puts a runner anywhere: here on another node than its engines, and on the next one when that is lost.
    runners = [
        _Runner(itertools.islice(itertools.cycle(nodes), number + 1, None), group, cluster, settings, run)
        for number, group in enumerate(engines)
    ]
    queue = ShardQueue(shards)

    async def sample() -> None:
        while True:
            busy = sum(engine.num_busy for group in engines for engine in group)
            run.samples.append((loop.time(), busy))
            await asyncio.sleep(_SAMPLE_SECONDS)

    lives = [sample(), *(node.live(cluster, draw, run) for node in nodes), *(r.live(loop.spend) for r in runners)]
    tasks = [asyncio.create_task(life) for life in lives]
    try:
        async with asyncio.TaskGroup() as group:
            for runner in runners:
                group.create_task(runner.feed(queue))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    run.seconds = loop.time()
    return run
