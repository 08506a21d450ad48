"""Everything in this process and its children: what `quire convert` runs where no Ray is asked for."""

from __future__ import annotations

import functools
import os
import stat
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from pipeline.admission import Admission
from pipeline.background import run_beside
from pipeline.bottleneck import Machinery, Verdict
from pipeline.config import FlowSettings, Settings, StorageSettings
from pipeline.convert import Converter, PageObserver, Writer, convert_shards
from pipeline.cores import num_cores
from pipeline.engines.base import Engine
from pipeline.engines.choose import LocalHost, ladder, make_engine, needs
from pipeline.engines.pool import EnginePool
from pipeline.errors import ConfigError
from pipeline.fetch import SourceCache
from pipeline.flow_meter import FlowMeter, RunMeter, every_tick
from pipeline.metrics import Report, Tally, report_nothing, tally
from pipeline.rasterize.base import Rasterizer
from pipeline.rasterize.fetching import FetchingRasterizer
from pipeline.rasterize.known_page import rasterize_known_page
from pipeline.rasterize.sandbox import Sandbox
from pipeline.records import ImageT, PageImage, PageResult, Shard

_NUM_COMMITS = 8  # at a time; each waits for the store some tenths of a second


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
) -> Verdict | None:
    """`convert_locally` with processes that are there already."""
    counts: Tally = Counter()
    cache = open_cache(settings.flow, settings.storage)
    rasterizer = FetchingRasterizer(cache, sandbox, settings.plan.num_fetches)
    async with _engines(settings) as engine:
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

        converter = make_converter(settings, meter, meter, write, see)
        watcher = run_beside("the meter", every_tick(look))
        try:
            await convert_shards(shards, converter, settings.flow.open_shards)
        finally:
            watcher.cancel()
        return run_meter.update(counts, [meter.sums])


def machinery(settings: Settings, num_engines: int, num_cpus: float, num_renderers: float) -> Machinery:
    """What a run has to run on, as the judge of its bottleneck wants to know it."""
    need = needs(settings)
    cpus_of_engine = None if need.shares_cpus else need.num_cpus
    return Machinery(
        num_engines, num_cpus, num_renderers, cpus_of_engine, "GPU" if need.num_gpus == 1 else "engine"
    )


def make_converter(
    settings: Settings,
    rasterizer: Rasterizer[ImageT],
    engine: Engine[ImageT],
    write: Writer,
    observe: PageObserver,
) -> Converter[ImageT]:
    """Join the parts under the bounds that the settings give."""
    admission = Admission(
        # A quarter more than the engine takes keeps it fed; half as much again looks ahead of the slow pages.
        max_pages=lambda: 2 + engine.window * 7 // 4,
        max_bytes=settings.flow.megabytes_in_flight << 20,
    )
    return Converter(
        rasterizer=rasterizer,
        engine=engine,
        ladder=ladder(settings),
        admission=admission,
        write=write,
        observe=observe,
        commits=ThreadPoolExecutor(_NUM_COMMITS, thread_name_prefix="commit"),
        max_chunk_pages=settings.flow.pages_per_chunk,
        keep_headers_and_footers=settings.text.keep_headers_and_footers,
        parser=settings.engine.parser,
    )


def open_cache(flow: FlowSettings, storage: StorageSettings) -> SourceCache:
    """This machine's cache of fetched documents, shared by all processes of this user. Raises `ConfigError`."""
    directory = Path(flow.cache_dir or Path(tempfile.gettempdir()) / f"quire-cache-{os.getuid()}")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The system's folder for temporary files is everybody's: somebody else may have put a link there first.
        status = directory.lstat()
    except OSError as exc:
        raise ConfigError(f"no documents can be kept in {directory} ({exc.strerror}): set flow.cache_dir") from exc
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigError(
            f"{directory} is a link, or belongs to another user: set flow.cache_dir to a folder of your own"
        )
    return SourceCache(directory, flow.cache_mb << 20, storage)


@asynccontextmanager
async def _engines(settings: Settings) -> AsyncGenerator[EnginePool[PageImage]]:
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
