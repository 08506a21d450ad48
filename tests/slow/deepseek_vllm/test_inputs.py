"""Requests: what is checked before an engine gets to see it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quire.deepseek_vllm.inputs import MAX_PAGE_TOKENS, PageViews, latents_prompt, page_prompt, page_views
from quire.rasterize.modes import MODES, layout
from tests.slow.deepseek_vllm.pages import A4, SLIDE, page_image

MODES_OF_THE_MODEL = [name for name, mode in MODES.items() if mode.side_px]


def _square(px: int) -> torch.Tensor:
    return torch.zeros(px, px, 3, dtype=torch.uint8)


@pytest.mark.parametrize("mode", MODES_OF_THE_MODEL)
@pytest.mark.parametrize("size", [A4, SLIDE])
def test_a_page_as_the_rasterizer_makes_it_is_in_order(mode: str, size: tuple[int, int]) -> None:
    page = page_image(mode, size_pt=size)
    views = page_views(page)
    views.check()
    assert views.num_tokens == page.num_image_tokens == layout(mode, *size).num_image_tokens


def test_pixels_are_not_copied() -> None:
    page = page_image("tiny")
    (view,) = page_views(page).views
    assert view.data_ptr() == page.views[0].ctypes.data


def test_read_only_pixels_do_not_warn() -> None:
    page = page_image("tiny")
    pixels = page.views[0].copy()
    pixels.flags.writeable = False
    page_views(dataclasses.replace(page, views=(pixels,))).check()


@pytest.mark.parametrize(
    ("mode", "grid", "sides", "message"),
    [
        ("tyni", (0, 0), [512], "unknown mode 'tyni'"),
        ("page150", (0, 0), [512], "unknown mode 'page150'"),
        ("base", (0, 0), [512], "do not fit mode base"),
        ("base", (0, 0), [], "views of nothing"),
        ("base", (0, 0), [1024, 1024], "do not fit"),
        ("base", (2, 1), [640, 640, 1024], "cannot have 2 x 1 tiles"),
        ("gundam", (1, 1), [640, 1024], "cannot have 1 x 1 tiles"),
        ("gundam", (2, 5), [640] * 10 + [1024], "cannot have 2 x 5 tiles"),
        ("gundam", (-2, -1), [640, 640, 1024], "cannot have"),
        ("gundam", (0, 3), [1024], "cannot have"),
        ("gundam", (2, 1), [640, 1024], "do not fit"),
        ("gundam", (2, 1), [1024, 640, 640], "do not fit"),
    ],
)
def test_other_views_are_refused(mode: str, grid: tuple[int, int], sides: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PageViews(mode, *grid, tuple(map(_square, sides))).check()


def test_views_that_are_not_square_rgb_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="512 x 256 x 3"):
        PageViews("tiny", 0, 0, (_square(512)[:, :256],)).check()
    with pytest.raises(ValueError, match="uint8"):
        PageViews("tiny", 0, 0, (_square(512).float(),)).check()


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(MODES_OF_THE_MODEL), st.sampled_from([2, 6, 9]))
def test_no_page_has_more_tokens_than_the_engine_is_told(width: int, height: int, mode: str, tiles: int) -> None:
    assert layout(mode, width, height, max_tiles=tiles).num_image_tokens <= MAX_PAGE_TOKENS
    assert MAX_PAGE_TOKENS == 1263  # 1 x 9 tiles


def test_a_page_is_named_by_its_hash_mode_and_grid() -> None:
    tall, wide = (dataclasses.replace(page_image("gundam"), tile_cols=c, tile_rows=r) for c, r in [(2, 3), (3, 2)])
    names = {str(page_prompt(page, "<image>")["multi_modal_uuids"]) for page in (tall, wide, page_image("base"))}
    assert len(names) == 3


def test_without_a_name_the_engine_makes_one() -> None:
    assert "multi_modal_uuids" not in latents_prompt(torch.zeros(4, 8), "<image>")
    assert "multi_modal_uuids" in latents_prompt(torch.zeros(4, 8), "<image>", "sha")
    assert "multi_modal_uuids" not in page_prompt(dataclasses.replace(page_image("tiny"), sha256=""), "<image>")


def test_the_test_pages_differ() -> None:
    first, second = (np.asarray(page_image("tiny", seed).views[0]) for seed in (0, 1))
    assert math.prod(first.shape) == first.size and (first != second).mean() > 0.05
