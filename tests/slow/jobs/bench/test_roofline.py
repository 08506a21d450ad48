"""The arithmetic against figures worked out by hand, and against operations that PyTorch counts in our encoder."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from quire.budget.roofline import (
    CARDS,
    IDEAL,
    REALISTIC,
    Card,
    Shares,
    cache_bytes_per_token,
    card_of,
    encoder_flop,
    pages_per_s,
    prefill_flop,
    step_bytes,
    view_flop,
)
from quire.deepseek_vllm.encoder import DeepEncoder
from quire.deepseek_vllm.sizes import SIZES
from quire.jobs.bench.checkpoint import config_of
from quire.rasterize.modes import layout

A4 = (595.0, 842.0)
BY_NAME = {card.name: card for card in CARDS}


@pytest.mark.parametrize(
    ("mode", "tera"), [("tiny", 0.27), ("small", 0.39), ("base", 1.14), ("large", 1.93), ("gundam", 3.46)]
)
def test_the_encoders_work(mode: str, tera: float) -> None:
    assert encoder_flop(layout(mode, *A4)) / 1e12 == pytest.approx(tera, rel=0.03)


@pytest.mark.parametrize("side_px", [512, 640, 1024])
def test_the_encoders_work_is_what_pytorch_counts(side_px: int) -> None:
    towers = config_of(SIZES["full"])["vision_config"]["width"]  # type: ignore[index]
    with torch.device("meta"):
        encoder = DeepEncoder(towers, 2048, 1280).bfloat16()
        view = torch.empty(1, side_px, side_px, 3, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder._encode_batch(view)
    assert view_flop(side_px) == pytest.approx(counter.get_total_flops(), rel=0.03)


@pytest.mark.parametrize(("mode", "tera"), [("base", 0.24), ("gundam", 0.77)])
def test_the_prefills_work(mode: str, tera: float) -> None:
    assert prefill_flop(layout(mode, *A4).num_image_tokens + 15) / 1e12 == pytest.approx(tera, rel=0.03)


def test_what_a_step_reads() -> None:
    assert cache_bytes_per_token() == 61_440
    assert step_bytes(SIZES["full"].decoder, 0, 0) / 1e9 == pytest.approx(5.54, rel=0.005)
    difference = step_bytes(SIZES["full"].decoder, 256, 1000) - step_bytes(SIZES["full"].decoder, 0, 0)
    assert difference == 256 * 1000 * 61_440


@pytest.mark.parametrize(
    ("card", "mode", "num_seqs", "shares", "least", "most"),
    [
        ("A100-40G", "gundam", 256, IDEAL, 11.8, 12.2),
        ("A100-40G", "gundam", 256, REALISTIC, 7.3, 7.7),
        ("A100-40G", "base", 256, REALISTIC, 13.1, 13.5),
        ("H200", "gundam", 256, REALISTIC, 22.5, 26),
        ("H200", "gundam", 1024, REALISTIC, 25, 26.5),
        ("H200", "base", 256, REALISTIC, 40.5, 42),
        ("H200", "base", 1024, REALISTIC, 50, 53),
    ],
)
def test_pages_a_second(card: str, mode: str, num_seqs: int, shares: Shares, least: float, most: float) -> None:
    assert least <= pages_per_s(BY_NAME[card], layout(mode, *A4), num_seqs, shares=shares) <= most


def test_uneven_answers_cost_more_than_even_ones_of_the_same_sum() -> None:
    page = layout("base", *A4)
    even, uneven = (pages_per_s(CARDS[0], page, 256, lengths) for lengths in ([1000, 1000], [100, 1900]))
    assert uneven < even


def test_what_a_step_multiplies_counts_where_memory_is_fast() -> None:
    page, fast = layout("base", *A4), Card("", 1e20, 1e14)
    flop = encoder_flop(page) + prefill_flop(page.num_image_tokens + 15)
    assert 0 < pages_per_s(fast, page, 256) < 1e14 / flop


@pytest.mark.parametrize(
    ("device", "memory_gib", "card"),
    [
        ("NVIDIA A100-SXM4-40GB", 39.6, "A100-40G"),
        ("NVIDIA A100 80GB PCIe", 79.1, "A100-80G"),
        ("NVIDIA H100 80GB HBM3", 79.1, "H100"),
        ("NVIDIA H200", 139.8, "H200"),
        ("Tesla T4", 15.0, ""),
    ],
)
def test_the_card_behind_a_name(device: str, memory_gib: float, card: str) -> None:
    found = card_of(device, memory_gib)
    assert (found.name if found else "") == card
