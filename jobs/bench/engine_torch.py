"""What of the engine needs no more than PyTorch: the encoder, pixels on their way to the device, and what making
them costs the host. One function a table; each returns rows of figures.

On a GPU times are of the wall clock, waiting for the device; on a CPU they are this process's own CPU time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from quire.budget.roofline import Card, encoder_flop
from quire.deepseek_vllm.encoder import load_encoder
from quire.deepseek_vllm.inputs import page_prompt, page_views
from quire.deepseek_vllm.sizes import SIZES
from quire.jobs.bench.drawn_pages import A4, drawn_page, page_image
from quire.jobs.bench.guard import find_python_rule, measure, milliseconds
from quire.rasterize.modes import PADDING_GREY, TILE_PX, layout

_COPIED_BYTES = 1 << 30
_MATRIX_SIDE = 8192


class EncoderRow(TypedDict):
    mode: str
    pages: int
    one_by_one_ms: float
    batched_ms: float
    ratio: float
    tflop_per_s: float | None


class PixelsRow(TypedDict):
    mode: str
    pages: int
    uint8_bytes: int
    float32_bytes: int
    uint8_ms: float
    host_ms: float
    float32_ms: float
    ratio: float


class GuardRow(TypedDict):
    requests: int
    lists_ms: float
    ban_ms: float
    both_ms: float
    python_ms: float
    python_rule: str
    ratio: float


class HostRow(TypedDict):
    mode: str
    ours_ms: float
    stock_ms: float
    ratio: float


def encoder_rows(
    checkpoint: Path, device: torch.device, dtype: torch.dtype, modes: Sequence[str], num_pages: int, rounds: int
) -> list[EncoderRow]:
    """Milliseconds a page, all pages in one call against a call for each. No rate for a small tower, whose
    operations `roofline.py` does not count."""
    encoder = load_encoder(checkpoint, device, dtype)
    is_full = encoder.sam_model.width == SIZES["full"].tower.sam_width
    rows: list[EncoderRow] = []
    for mode in modes:
        pages = [page_views(page_image(mode, seed)) for seed in range(num_pages)]
        views, cols = [page.views for page in pages], [page.tile_cols for page in pages]
        one, batched = _in_turn(
            [lambda v=views, c=cols: _one_by_one(encoder, v, c), lambda v=views, c=cols: encoder(v, c)],
            device,
            rounds,
        )
        flop = encoder_flop(layout(mode, *A4))
        rows.append(
            {
                "mode": mode,
                "pages": num_pages,
                "one_by_one_ms": one / num_pages,
                "batched_ms": batched / num_pages,
                "ratio": one / batched,
                "tflop_per_s": flop * num_pages / batched / 1e9 if is_full else None,
            }
        )
    return rows


def _one_by_one(encoder: Callable[..., object], views: Sequence[tuple[Tensor, ...]], cols: Sequence[int]) -> None:
    for page, num_cols in zip(views, cols, strict=True):
        encoder([page], [num_cols])


def pixels_rows(
    device: torch.device, dtype: torch.dtype, modes: Sequence[str], num_pages: int, rounds: int
) -> list[PixelsRow]:
    """Host memory to normalised pixels of the model's type on the device: as bytes, normalised there, against
    normalised to float32 by the host (`host_ms`) and then sent."""
    rows: list[PixelsRow] = []
    for mode in modes:
        views = [view for seed in range(num_pages) for view in page_views(page_image(mode, seed)).views]
        floats = [_normal(view.float()).permute(2, 0, 1).contiguous() for view in views]
        small, host, large = _in_turn(
            [
                lambda v=views: [_normal(view.to(device).float()).to(dtype) for view in v],
                lambda v=views: [_normal(view.float()).permute(2, 0, 1).contiguous() for view in v],
                lambda v=floats: [view.to(device).to(dtype) for view in v],
            ],
            device,
            rounds,
        )
        rows.append(
            {
                "mode": mode,
                "pages": num_pages,
                "uint8_bytes": sum(view.nbytes for view in views) // num_pages,
                "float32_bytes": sum(view.nbytes for view in floats) // num_pages,
                "uint8_ms": small / num_pages,
                "host_ms": host / num_pages,
                "float32_ms": large / num_pages,
                "ratio": (host + large) / small,
            }
        )
    return rows


def guard_rows(device: torch.device, requests: Sequence[int], steps: int) -> list[GuardRow]:
    """Milliseconds a step of the repetition guard; see `guard.py`."""
    name, rule = find_python_rule()
    rows: list[GuardRow] = []
    for num_requests in requests:
        lists, ban, both, python = measure(num_requests, device, steps, rule)
        rows.append(
            {
                "requests": num_requests,
                "lists_ms": lists,
                "ban_ms": ban,
                "both_ms": both,
                "python_ms": python,
                "python_rule": name,
                "ratio": python / both,
            }
        )
    return rows


def host_rows(modes: Sequence[str], rounds: int) -> list[HostRow]:
    """CPU milliseconds a page in front of the engine, before vLLM's own work. Ours gets the views as the rasterizer
    made them, which cost it what `quire.jobs.bench.feed` says; the stock way gets the page as one image, cuts it with
    Pillow (always as Gundam does), normalises it to float32 and rounds that to bfloat16."""
    image, cpu = drawn_page(), torch.device("cpu")
    rows: list[HostRow] = []
    for mode in modes:
        page = page_image(mode)
        ours, stock = _in_turn(
            [lambda p=page: page_prompt(p, "<image>"), lambda: stock_pixels(image)],
            cpu,
            rounds,
        )
        rows.append({"mode": mode, "ours_ms": ours, "stock_ms": stock, "ratio": stock / ours})
    return rows


def stock_pixels(image: Image.Image) -> list[Tensor]:
    """What vLLM's own class makes of a page: the tiles, then the whole page, (3, side, side) bfloat16."""
    chosen = layout("gundam", 0.0, 0.0, native_px=image.size)
    stretched = image.resize(chosen.tiled_px)
    corners = [(x * TILE_PX, y * TILE_PX) for y in range(chosen.tile_rows) for x in range(chosen.tile_cols)]
    views = [stretched.crop((x, y, x + TILE_PX, y + TILE_PX)) for x, y in corners]
    views.append(ImageOps.pad(image, chosen.canvas_px, color=(PADDING_GREY,) * 3))
    return [_normal(torch.from_numpy(np.array(view)).permute(2, 0, 1).float()).bfloat16() for view in views]


def measured_card(device: torch.device) -> Card:
    """The device's rates as a copy and a product of matrices reach them: less than its data sheet says."""
    is_cuda = device.type == "cuda"
    scale = 1 if is_cuda else 8
    source = torch.zeros(_COPIED_BYTES // scale, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    side = _MATRIX_SIDE // scale
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    copy_s = _wall_s(lambda: target.copy_(source), device)
    product_s = _wall_s(lambda: left @ right, device)
    name = torch.cuda.get_device_name(device) if is_cuda else "cpu"
    return Card(f"{name}, measured", 2 * source.nbytes / copy_s, 2 * side**3 / product_s)


def _normal(pixels: Tensor) -> Tensor:
    return pixels.div_(255).sub_(0.5).div_(0.5)


def _in_turn(works: Sequence[Callable[[], object]], device: torch.device, rounds: int) -> list[float]:
    """Median milliseconds of each, taking turns; the first round only warms up."""
    times = [[milliseconds(lambda w=work: _drop(w()), device) for work in works] for _ in range(rounds + 1)]
    return [statistics.median(column) for column in zip(*times[1:], strict=True)]


def _wall_s(work: Callable[[], object], device: torch.device) -> float:
    """The best of ten: what the device can do."""
    seconds = []
    for _ in range(10):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _drop(_: object) -> None:
    pass
