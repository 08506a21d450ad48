"""A plain image → the views of a Gundam page, as DeepSeek's own preprocessing makes them.

For servers: a client of `vllm serve` sends a picture of any size. Quire itself never uses this: its rasterizer renders
each view at its own size. It does not know vLLM.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from quire.deepseek_vllm.inputs import PageViews
from quire.rasterize.modes import PADDING_GREY, TILE_PX, layout


def views_of_image(image: Image.Image) -> PageViews:
    """Tiles of 640 px where the image is larger than one, and the whole image padded to 1024 px."""
    image = image.convert("RGB")
    plan = layout("gundam", 1.0, 1.0, native_px=image.size)
    whole = Image.new("RGB", plan.canvas_px, (PADDING_GREY,) * 3)
    whole.paste(image.resize(plan.content_px, Image.Resampling.BICUBIC), plan.offset_px)
    tiles: list[Tensor] = []
    if plan.num_tiles:
        tiled = _tensor(image.resize(plan.tiled_px, Image.Resampling.BICUBIC))
        rows = tiled.split(TILE_PX, dim=0)
        tiles = [tile.contiguous() for row in rows for tile in row.split(TILE_PX, dim=1)]
    return PageViews("gundam", plan.tile_cols, plan.tile_rows, (*tiles, _tensor(whole)))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image))
