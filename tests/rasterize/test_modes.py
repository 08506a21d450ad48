"""Resolution modes against the figures of the model's own preprocessing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from quire.errors import ConfigError
from quire.rasterize.modes import MODES, OCR_MAX_SIDE_PX, layout, tile_grid

A4 = (595.28, 841.89)


@pytest.mark.parametrize(
    ("mode", "canvas_px", "tokens"),
    [("tiny", 512, 73), ("small", 640, 111), ("base", 1024, 273), ("large", 1280, 421)],
)
def test_square_modes(mode: str, canvas_px: int, tokens: int) -> None:
    chosen = layout(mode, *A4)
    assert chosen.canvas_px == (canvas_px, canvas_px)
    assert chosen.num_image_tokens == tokens
    assert chosen.num_tiles == 0


@pytest.mark.parametrize(
    ("size", "grid", "tokens"),
    [
        (A4, (2, 3), 903),
        ((612, 792), (2, 3), 903),  # Letter
        ((800, 600), (3, 2), 893),
        ((960, 540), (2, 1), 483),
        ((500, 500), (2, 2), 693),
        ((18000, 36000), (1, 2), 493),
        ((4000, 500), (6, 1), 883),
    ],
)
def test_gundam_grid(size: tuple[float, float], grid: tuple[int, int], tokens: int) -> None:
    chosen = layout("gundam", *size)
    assert (chosen.tile_cols, chosen.tile_rows) == grid
    assert chosen.num_image_tokens == tokens
    assert chosen.tiled_px == (640 * grid[0], 640 * grid[1])


def test_a_page_that_fits_into_one_tile_has_none() -> None:
    assert layout("gundam", 320, 320).num_image_tokens == 273  # 640 px at the nominal 144 dpi
    assert layout("gundam", 321, 320).num_tiles > 0
    assert layout("gundam", 1000, 1000, native_px=(640, 640)).num_tiles == 0
    assert layout("gundam", 100, 100, native_px=(641, 100)).num_tiles > 0


def test_on_a_tie_the_larger_grid_wins_only_where_the_page_fills_half_of_it() -> None:
    # A square is met exactly by 2x2 and, with nine tiles allowed, by 3x3.
    assert tile_grid((700, 700), max_tiles=9) == (2, 2)
    assert tile_grid((1800, 1800), max_tiles=9) == (3, 3)
    assert tile_grid((1800, 1800), max_tiles=6) == (2, 2)


@pytest.mark.parametrize("max_tiles", [1, 10])
def test_max_tiles_out_of_range(max_tiles: int) -> None:
    with pytest.raises(ConfigError, match="2 to 9"):
        layout("gundam", *A4, max_tiles=max_tiles)


def test_unknown_mode_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gundam'"):
        layout("gundma", *A4)


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(["base", "large", "gundam"]))
def test_padding_is_pillows(width: int, height: int, mode: str) -> None:
    chosen = layout(mode, width, height, native_px=(width, height))
    padded = ImageOps.pad(Image.new("L", (width, height), 255), chosen.canvas_px, color=0)
    x, y = chosen.offset_px
    box = padded.getbbox()
    if min(chosen.content_px) > 2:
        assert box == (x, y, x + chosen.content_px[0], y + chosen.content_px[1])


def test_stretched_modes_fill_the_canvas() -> None:
    assert layout("tiny", *A4).content_box == (0.0, 0.0, 1.0, 1.0)
    assert layout("base", *A4).content_box == pytest.approx((150 / 1024, 0, 874 / 1024, 1))


@pytest.mark.parametrize(
    ("size", "native_px", "expected"),
    [
        ((612, 792), None, (1275, 1650)),
        ((3.84, 3.84), None, (32, 32)),
        ((8400, 8400), None, (4000, 4000)),
        ((18000, 36000), None, (2000, 4000)),
        ((10, 14000), None, (32, 24000)),
        ((288, 4500), (576, 9000), (576, 9000)),  # a till roll
        ((612, 9000), None, (1043, 15339)),  # 16 megapixels
        ((9000, 612), None, (15339, 1043)),
        ((612, 2000), None, (1275, 4166)),
        ((612, 792), (2550, 3300), (1275, 1650)),  # a scan of 300 dpi
        ((400, 300), (800, 600), (800, 600)),  # an image is never enlarged
    ],
)
def test_page150(size: tuple[float, float], native_px: tuple[int, int] | None, expected: tuple[int, int]) -> None:
    chosen = layout("page150", *size, native_px=native_px)
    assert chosen.canvas_px == chosen.content_px == expected
    assert chosen.num_image_tokens == 0


@given(st.floats(0.1, 40_000), st.floats(0.1, 40_000), st.integers(1_000_000, 50_000_000))
def test_page150_keeps_its_limits(width_pt: float, height_pt: float, max_pixels: int) -> None:
    width, height = layout("page150", width_pt, height_pt, max_pixels=max_pixels).canvas_px
    assert min(width, height) >= 32 and width * height <= min(max_pixels, OCR_MAX_SIDE_PX**2)
    assert max(width, height) <= (24_000 if max(width, height) > 2.9 * min(width, height) else OCR_MAX_SIDE_PX)


@given(st.floats(0.1, 40_000), st.floats(0.1, 40_000), st.sampled_from(sorted(MODES)))
def test_every_page_has_a_layout(width_pt: float, height_pt: float, mode: str) -> None:
    chosen = layout(mode, width_pt, height_pt)
    assert min(chosen.content_px) >= 1
    assert len(chosen.view_shapes) == chosen.num_tiles + 1
    assert all(0 <= share <= 1 for share in chosen.content_box)


@pytest.mark.parametrize(
    ("mode", "size", "native_px", "expected"),
    [
        ("side1288", A4, None, (910, 1288)),
        ("side1288", A4, (400, 566), (910, 1288)),  # these models want that side, enlarged or not
        ("side1540", (842, 595), None, (1540, 1088)),
        ("side1540", (10, 14000), None, (32, 1540)),
        ("dpi144x28", A4, None, (1176, 1680)),
        ("dpi200x28", A4, None, (1652, 2324)),
        ("dpi200x28", A4, (1240, 1754), (1232, 1736)),  # an image is never enlarged
        ("dpi200x28", (8400, 8400), None, (3360, 3360)),  # 11,289,600 px
        ("dpi200x28", (3.84, 3.84), None, (56, 56)),
    ],
)
def test_modes_of_chat_models(
    mode: str, size: tuple[float, float], native_px: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    chosen = layout(mode, *size, native_px=native_px)
    assert chosen.canvas_px == chosen.content_px == expected
    assert chosen.num_tiles == chosen.num_image_tokens == 0


@given(
    st.floats(0.1, 40_000), st.floats(0.1, 40_000), st.integers(1_000_000, 50_000_000), st.sampled_from([144, 200])
)
def test_sides_in_multiples_keep_the_limits(width_pt: float, height_pt: float, max_pixels: int, dpi: int) -> None:
    width, height = layout(f"dpi{dpi}x28", width_pt, height_pt, max_pixels=max_pixels).canvas_px
    assert width % 28 == height % 28 == 0 and min(width, height) >= 56
    assert max(width, height) <= OCR_MAX_SIDE_PX
    assert width * height <= max_pixels
    assert max(width, height) / min(width, height) < 200, "beyond which such models refuse an image"


def test_up_to_nine_tiles() -> None:
    assert layout("gundam9", 900, 900).num_tiles == 9
    assert layout("gundam", 900, 900).num_tiles == 4
