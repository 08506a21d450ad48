"""Everything in this process and its children: what `quire convert` runs without --ray."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing

from quire.config.settings import Settings
from quire.conversion.shard import PageObserver, Writer, convert_shards
from quire.engines.choose import make_engine
from quire.engines.local_host import LocalHost
from quire.engines.pool import EnginePool
from quire.flows.converter import machinery, make_converter
from quire.meters.bottleneck import Verdict
from quire.meters.flow_meter import FlowMeter, RunMeter, every_tick
from quire.meters.metrics import Report, Tally, report_nothing, tally
from quire.processes.background import run_beside
from quire.processes.cores import num_cores
from quire.rasterize.fetching import FetchingRasterizer
from quire.rasterize.known_page import rasterize_known_page
from quire.rasterize.sandbox import Sandbox
from quire.records import PageImage, PageResult, Shard
from quire.storage.cache_folder import open_cache


async def convert_locally(
    shards: Iterable[Shard],
    settings: Settings,
    write: Writer,
    observe: PageObserver,
    passwords: Sequence[str] = (),
    report: Report = report_nothing,
) -> Verdict | None:
    """Convert and commit all shards, and say what bounded it. Raises what stops the run; what is committed stays."""
    async with Sandbox(settings.render, tuple(passwords)) as sandbox:
        return await convert_with(sandbox, shards, settings, write, observe, report)


async def convert_with(
    sandbox: Sandbox,
    shards: Iterable[Shard],
    settings: Settings,
    write: Writer,
    observe: PageObserver,
    report: Report = report_nothing,
    wait_for: Callable[[str], object] = lambda what: None,
) -> Verdict | None:
    """`convert_locally` with processes that are there already. `wait_for` is told what the first page waits for."""
    counts: Tally = Counter()
    cache = open_cache(settings.flow, settings.storage)
    async with AsyncExitStack() as parts:
        rasterizer = parts.enter_context(closing(FetchingRasterizer(cache, sandbox, settings.plan.num_fetches)))
        engine = await parts.enter_async_context(running_engines(settings))
        meter = FlowMeter(rasterizer, engine, report)
        num_renderers = settings.render.num_workers or num_cores()
        run_meter = RunMeter(machinery(settings, 1, num_cores(), num_renderers), report)

        def see(page: PageResult) -> None:
            counts.update(tally(page))
            meter.see_outcome()
            observe(page)

        def look(seconds: float) -> None:
            meter.look(converter.admission, seconds)
            run_meter.update(counts, [meter.sums])
            wait_for(meter.awaited())

        converter = make_converter(settings, meter, meter, write, see)
        watcher = run_beside("the meter", every_tick(look))
        try:
            await convert_shards(shards, converter, settings.flow.open_shards)
        finally:
            watcher.cancel()
        return run_meter.update(counts, [meter.sums])


@asynccontextmanager
async def running_engines(settings: Settings) -> AsyncGenerator[EnginePool[PageImage]]:
    """A pool of the one engine that the settings name, in this process and its children."""
    pool: EnginePool[PageImage] = EnginePool(
        [LocalHost(lambda: make_engine(settings))],
        settings.engine,
        functools.partial(rasterize_known_page, settings.render),
    )
    pool.start()
    try:
        yield pool
    finally:
        await pool.close()
