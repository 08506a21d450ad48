"""The parts of a conversion, joined as the settings say. Does not know where they run: `local.py` and `on_ray` do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from quire.config.settings import Settings
from quire.conversion.admission import Admission
from quire.conversion.shard import Converter, PageObserver, Writer
from quire.engines.base import Engine
from quire.engines.choose import needs
from quire.engines.ladder import ladder
from quire.meters.bottleneck import Machinery
from quire.rasterize.base import Rasterizer
from quire.records import ImageT

_NUM_COMMITS = 8  # at a time; each waits for the store some tenths of a second


def machinery(settings: Settings, num_engines: int, num_cpus: float, num_renderers: float) -> Machinery:
    """What a run has to run on, as `find_bottleneck` needs it."""
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
        # 1.25 windows keep the engine fed; half a window more looks past the slow pages.
        max_pages=lambda: 2 + engine.window * 7 // 4,
        max_bytes=settings.flow.megabytes_in_flight << 20,
    )
    return Converter(
        rasterizer=rasterizer,
        engine=engine,
        ladder=ladder(settings.engine),
        admission=admission,
        write=write,
        observe=observe,
        commits=ThreadPoolExecutor(_NUM_COMMITS, thread_name_prefix="commit"),
        max_chunk_pages=settings.flow.pages_per_chunk,
        keep_headers_and_footers=settings.text.keep_headers_and_footers,
        parser=settings.engine.parser,
    )
