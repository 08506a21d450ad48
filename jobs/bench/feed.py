"""CPU time to make a Gundam page's pixels: our way against the common one.

Ours renders each view at its own pixel size into shared memory, as bytes. The common way, which the model's
published PDF script and most servers take, renders at 144 dpi, encodes and decodes a PNG, crops and pads with
Pillow, and normalises to float32. Both ways run in this process, page by page in turn, each round on freshly
opened documents, so neither profits from the other's caches.

    python -m quire.jobs.bench.feed [FILES…] [--pages N] [--rounds N]
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from quire.jobs.bench.feed_pages import write_pages
from quire.rasterize.modes import TILE_PX, layout
from quire.rasterize.mupdf import MupdfDocument, render_png
from quire.rasterize.views import ARENA_BYTES, write_views

_MAX_PIXELS = 50_000_000


def our_way(document: MupdfDocument, page_index: int, arena: Any) -> None:
    """Pixels as they are handed to an engine, page facts included: they cost us time as well."""
    write_views(document.render(page_index, "gundam", _MAX_PIXELS), arena)


def common_way(document: MupdfDocument, page_index: int) -> None:
    image = Image.open(io.BytesIO(render_png(document, page_index, dpi=144))).convert("RGB")
    chosen = layout("gundam", 0.0, 0.0, native_px=image.size)
    views = [ImageOps.pad(image, chosen.canvas_px, color=(127, 127, 127))]
    if chosen.num_tiles:
        stretched = image.resize(chosen.tiled_px)
        for index in range(chosen.num_tiles):
            row, col = divmod(index, chosen.tile_cols)
            corner = (col * TILE_PX, row * TILE_PX)
            views.append(stretched.crop((*corner, corner[0] + TILE_PX, corner[1] + TILE_PX)))
    for view in views:
        pixels = np.asarray(view, dtype=np.float32).transpose(2, 0, 1) / 255.0
        np.ascontiguousarray((pixels - 0.5) / 0.5)


def measure(path: Path, num_pages: int, num_rounds: int) -> tuple[int, float, float]:
    """(pages, our ms a page, the common way's ms a page): medians over all pages and rounds, CPU time."""
    arena = np.zeros(ARENA_BYTES, dtype=np.uint8)
    ours: list[float] = []
    common: list[float] = []
    counted = 0
    for _ in range(num_rounds):
        for way, times in ((_ours(arena), ours), (common_way, common)):
            with path.open("rb") as file:
                document = MupdfDocument(file)
                counted = min(num_pages, document.num_pages)
                times += [_cpu_ms(way, document, page_index) for page_index in range(counted)]
                document.close()
    return counted, statistics.median(ours), statistics.median(common)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("files", nargs="*", type=Path, help="PDFs; generated pages by default")
    parser.add_argument("--pages", type=int, default=8, help="pages of each document at most (default: 8)")
    parser.add_argument("--rounds", type=int, default=5, help="times each page is measured (default: 5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        files = options.files or write_pages(Path(folder), options.pages)
        rows = [(path.name, *measure(path, options.pages, options.rounds)) for path in files]
    _print_table(rows)


def _ours(arena: Any) -> Callable[[MupdfDocument, int], None]:
    return lambda document, page_index: our_way(document, page_index, arena)


def _cpu_ms(way: Callable[[MupdfDocument, int], None], document: MupdfDocument, page_index: int) -> float:
    started = time.process_time()
    way(document, page_index)
    return 1000 * (time.process_time() - started)


def _print_table(rows: list[tuple[str, int, float, float]]) -> None:
    print(f"CPU ms a Gundam page, medians, one core of {os.cpu_count()}")
    print(f"{'document':<44}{'pages':>6}{'ours':>9}{'common':>9}{'ratio':>8}")
    for name, num_pages, ours, common in rows:
        print(f"{name[:43]:<44}{num_pages:>6}{ours:>9.1f}{common:>9.1f}{common / ours:>7.1f}x")
    ours_mean = statistics.fmean(row[2] for row in rows)
    common_mean = statistics.fmean(row[3] for row in rows)
    print(f"{'mean of documents':<50}{ours_mean:>9.1f}{common_mean:>9.1f}{common_mean / ours_mean:>7.1f}x")


if __name__ == "__main__":
    main()
