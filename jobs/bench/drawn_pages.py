"""Pages of random words to show to a model, laid out as a mode asks, as the rasterizer would hand them on.

Drawn with Pillow alone, so that a machine needs no renderer to measure a model.
"""

from __future__ import annotations

import hashlib
import random
import string
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from quire.rasterize.modes import PADDING_GREY, TILE_PX, layout
from quire.records import PageImage, Pixels

A4 = (595, 842)
SLIDE = (720, 405)


def page_image(mode: str, seed: int = 0, size_pt: tuple[int, int] = A4, max_tiles: int | None = None) -> PageImage:
    """A page of random words; the same arguments give the same page."""
    chosen = layout(mode, *size_pt, max_tiles=max_tiles)
    drawn = drawn_page(seed, size_pt)
    whole = Image.new("RGB", chosen.canvas_px, (PADDING_GREY,) * 3)
    whole.paste(drawn.resize(chosen.content_px), chosen.offset_px)
    tiled = drawn.resize(chosen.tiled_px) if chosen.num_tiles else None
    corners = [(x, y) for y in range(chosen.tile_rows) for x in range(chosen.tile_cols)]
    tiles = [_cut(tiled, x * TILE_PX, y * TILE_PX) for x, y in corners if tiled]
    views = (*tiles, np.asarray(whole))
    return PageImage(
        doc_id="",
        page_index=seed,
        mode=mode,
        width_px=chosen.content_px[0],
        height_px=chosen.content_px[1],
        tile_cols=chosen.tile_cols,
        tile_rows=chosen.tile_rows,
        num_image_tokens=chosen.num_image_tokens,
        dpi=0.0,
        sha256=hashlib.sha256(b"".join(view.tobytes() for view in views)).hexdigest(),
        views=views,
        content_box=chosen.content_box,
    )


def _cut(page: Image.Image, x: int, y: int) -> Pixels:
    return np.ascontiguousarray(page.crop((x, y, x + TILE_PX, y + TILE_PX)))


@cache
def drawn_page(seed: int = 0, size_pt: tuple[int, int] = A4) -> Image.Image:
    """The page at 144 dpi, before any mode has cut it."""
    generator = random.Random(seed)
    page = Image.new("RGB", (size_pt[0] * 2, size_pt[1] * 2), "white")
    draw = ImageDraw.Draw(page)
    for y in range(60, page.height - 60, 24):
        words = ["".join(generator.choices(string.ascii_lowercase, k=generator.randint(2, 9))) for _ in range(24)]
        draw.text((80, y), " ".join(words), fill="black", font_size=18)
    return page
