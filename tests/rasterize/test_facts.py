"""Page facts from made-up pixels and text."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from quire.rasterize import facts
from quire.records import Pixels

NOTHING = 2e-5


def page(level: tuple[int, int, int] = (255, 255, 255), noise: float = 0.0) -> Pixels:
    pixels = np.full((1024, 724, 3), level, dtype=np.float64)
    pixels += np.random.default_rng(1).normal(0, noise, pixels.shape)
    return pixels.round().clip(0, 255).astype(np.uint8)


def with_text(pixels: Pixels, text: str, size_px: float, fill: tuple[int, int, int] = (0, 0, 0)) -> Pixels:
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text((350, 980), text, fill=fill, font=ImageFont.load_default(size=size_px))
    return np.asarray(image)


@pytest.mark.parametrize(
    ("level", "noise"),
    [
        ((255, 255, 255), 0),
        ((0, 0, 0), 0),
        ((30, 60, 200), 0),
        ((240, 230, 200), 0),
        ((255, 255, 255), 2),
        ((235, 232, 228), 4),
        ((200, 200, 200), 7),
    ],
)
def test_blank_pages_have_no_ink(level: tuple[int, int, int], noise: float) -> None:
    assert facts.ink_share(page(level, noise)) < NOTHING


@pytest.mark.parametrize(
    ("background", "noise", "fill"),
    [
        ((255, 255, 255), 0, (0, 0, 0)),
        ((255, 255, 255), 0, (190, 190, 190)),
        ((255, 255, 255), 0, (255, 255, 0)),  # the same in red and green
        ((30, 60, 200), 0, (255, 255, 255)),
        ((235, 232, 228), 4, (60, 60, 60)),
    ],
)
def test_a_lone_page_number_is_ink(
    background: tuple[int, int, int], noise: float, fill: tuple[int, int, int]
) -> None:
    pixels = with_text(page(background, noise), "7", size_px=11, fill=fill)
    assert facts.ink_share(pixels) > 1.4e-5
    assert facts.ink_share(pixels) > 3 * facts.ink_share(page(background, noise))


def test_ink_share_counts_pixels() -> None:
    pixels = page()
    pixels[:256] = 0
    assert facts.ink_share(pixels) == pytest.approx(0.25)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 900, 3), (900, 1, 3)])
def test_ink_share_of_slivers(shape: tuple[int, int, int]) -> None:
    assert facts.ink_share(np.full(shape, 9, dtype=np.uint8)) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0.0)),
        (" \n\t", (0, 0.0)),
        ("ab c", (3, 0.0)),
        ("ab\ue000\ue001", (4, 0.5)),
        ("a\x01", (2, 0.5)),
        ("a\ufffd", (2, 0.5)),
        ("日本語", (3, 0.0)),
    ],
)
def test_count_characters(text: str, expected: tuple[int, float]) -> None:
    assert facts.count_characters(text) == expected


def test_smallest_common_height_leaves_out_rare_sizes() -> None:
    assert facts.smallest_common_height([]) == 0.0
    assert facts.smallest_common_height([(10.0, 990), (5.0, 10)]) == pytest.approx(7.0)
    assert facts.smallest_common_height([(10.0, 900), (6.0, 100)]) == pytest.approx(4.2)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], 0.0),
        ([(0, 0, 200, 100)], 1.0),
        ([(-50, -50, 900, 900)], 1.0),
        ([(0, 0, 100, 100), (50, 0, 150, 100)], 0.75),
        ([(0, 0, 100, 100), (0, 0, 100, 100)], 0.5),
        ([(300, 0, 400, 100)], 0.0),
    ],
)
def test_cover_share(boxes: list[facts.Box], expected: float) -> None:
    assert facts.cover_share(boxes, (0, 0, 200, 100)) == pytest.approx(expected)
