"""`python -m quire.jobs.bench.throughput`: does the pipeline keep a CPU engine as busy as a bare loop would?

The bare loop has all pages rendered beforehand and does nothing but hand them to the engine, one process a core. Ours
fetches, renders, recognizes, assembles and commits the same pages. Both include the start of the engine; runs
alternate, and the medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.engines.choose import make_engine
from quire.engines.ladder import ladder
from quire.flows.local import convert_locally
from quire.jobs.bench.feed_pages import write_text
from quire.planning.plan_log import planned_shards
from quire.processes.cores import num_cores
from quire.rasterize.sandbox import Sandbox
from quire.records import PageImage
from quire.results.run_folder import provenance
from quire.results.write import ShardWriter
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import open_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=24)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_compare(Path(directory), arguments.pages, arguments.runs, arguments.overrides))


async def _compare(root: Path, num_pages: int, num_runs: int, overrides: list[str]) -> None:
    settings = load_settings(None, [f"flow.cache_dir={root / 'cache'}", *overrides])
    write_text(root / "pages.pdf", num_pages)
    inputs = Inputs((str(root / "pages.pdf"),), (), str(root / "plan"))
    await make_plan(inputs, settings)
    images = await _render(inputs.output, settings)
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for number in range(num_runs):
        seconds["bare"].append(await _bare_loop(images, settings))
        seconds["ours"].append(await _pipeline(inputs.output, root / f"out{number}", settings))
    bare, ours = (num_pages / statistics.median(seconds[name]) for name in ("bare", "ours"))
    print("| engine | processes | bare loop, pages/s | quire convert, pages/s | ratio |")
    print("|---|---|---|---|---|")
    print(f"| {settings.engine.name} | {num_cores()} | {bare:.3f} | {ours:.3f} | {ours / bare:.3f} |")


async def _render(plan_uri: str, settings: Settings) -> list[PageImage]:
    sandbox = Sandbox(settings.render)
    try:
        return [
            await image.get()
            for shard in planned_shards(open_folder(plan_uri, StorageSettings()))
            for source in shard.ranges
            async for _, image in sandbox.rasterize(
                Path(source.uri), source, range(source.start, source.stop), ladder(settings.engine)[0].mode
            )
            if image is not None
        ]
    finally:
        await sandbox.close()


async def _bare_loop(images: list[PageImage], settings: Settings) -> float:
    started = time.perf_counter()
    engine = await make_engine(settings)
    slots = asyncio.Semaphore(engine.window)
    request = ladder(settings.engine)[0]

    async def read(image: PageImage) -> None:
        async with slots:
            await engine.recognize(image, request)

    await asyncio.gather(*map(read, images))
    seconds = time.perf_counter() - started
    await engine.close()
    return seconds


async def _pipeline(plan_uri: str, output: Path, settings: Settings) -> float:
    shards = list(planned_shards(open_folder(plan_uri, StorageSettings())))
    folder = open_folder(str(output), StorageSettings())
    writer = ShardWriter(folder, provenance(folder, settings))
    started = time.perf_counter()
    await convert_locally(shards, settings, writer.write, lambda page: None)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
