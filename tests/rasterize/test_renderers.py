"""The three renderers, in this process: pixels, rotation, annotations, modes, facts."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
from PIL import Image, TiffImagePlugin

from quire.rasterize.documents import open_document
from quire.rasterize.images import size_pt
from quire.rasterize.media_type import PDF, sniff_file
from quire.rasterize.views import (
    ARENA_BYTES,
    RenderFailure,
    Rendering,
    WrongPassword,
    read_views,
    write_views,
)
from quire.records import Pixels
from tests import documents
from tests.waiting import BOUND_S

Write = Callable[..., Path]
BOTH = pytest.mark.parametrize("renderer", ["mupdf", "pdfium"])
MAX_PIXELS = 50_000_000


def rendering(renderer: str, path: Path, mode: str = "base", page_index: int = 0) -> Rendering:
    with path.open("rb") as file:
        document = open_document(renderer, file, sniff_file(file), (), MAX_PIXELS)
        try:
            return document.render(page_index, mode, MAX_PIXELS)
        finally:
            document.close()


def views_of(made: Rendering) -> tuple[Pixels, ...]:
    arena = np.zeros(ARENA_BYTES, dtype=np.uint8)
    num_bytes = write_views(made, arena)
    assert not arena[num_bytes:].any()
    return read_views(arena, made.layout.view_shapes)


@BOTH
@pytest.mark.parametrize("mode", ["tiny", "small", "base", "large", "gundam", "page150"])
def test_every_mode_has_its_pixels(renderer: str, mode: str, write: Write) -> None:
    made = rendering(renderer, write(documents.pdf()), mode)
    views = views_of(made)
    assert tuple(view.shape for view in views) == made.layout.view_shapes
    assert all(view.dtype == np.uint8 for view in views)
    width, height = made.layout.content_px
    assert made.page.shape == (height, width, 3)
    assert 0.001 < made.facts.ink_share < 0.1


@BOTH
def test_tiles_are_the_page_cut_up(renderer: str, write: Write) -> None:
    made = rendering(renderer, write(documents.rotated_pdf(0)), "gundam")
    *tiles, page = views_of(made)
    assert len(tiles) == 6
    assert made.tiled is not None
    assert (np.hstack(tiles[:2]) == made.tiled[:640]).all()
    assert (np.hstack(tiles[4:]) == made.tiled[1280:]).all()
    assert (page[:, :100] == 127).all() and (page[:, -100:] == 127).all()
    # Both views show the same page: scaled to one size, they differ at edges only.
    small = [Image.fromarray(view).resize((64, 96)) for view in (made.tiled, made.page)]
    assert np.abs(np.asarray(small[0]).astype(int) - np.asarray(small[1])).mean() < 4


@BOTH
@pytest.mark.parametrize(("angle", "side"), [(0, "top"), (90, "right"), (180, "bottom"), (270, "left")])
def test_rotation_is_applied(renderer: str, angle: int, side: str, write: Write) -> None:
    made = rendering(renderer, write(documents.rotated_pdf(angle)))
    height, width = made.page.shape[:2]
    assert (width < height) == (angle in (0, 180))
    halves = {
        "top": made.page[: height // 4],
        "bottom": made.page[-height // 4 :],
        "left": made.page[:, : width // 4],
        "right": made.page[:, -width // 4 :],
    }
    assert min(halves, key=lambda name: halves[name].mean()) == side


@BOTH
def test_annotations_and_fields_are_drawn(renderer: str, write: Write) -> None:
    made = rendering(renderer, write(documents.annotated_pdf()))
    height = made.page.shape[0]
    dark = (made.page < 100).any(axis=(1, 2))
    assert dark[: height // 5].any(), "annotation"
    assert dark[height // 3 : height // 2].any(), "form field"


@BOTH
@pytest.mark.parametrize("has_appearances", [True, False])
def test_ticks_of_a_form_are_drawn(renderer: str, has_appearances: bool, write: Write) -> None:
    data = documents.form_pdf(has_appearances)
    assert (b"/AP" in data) == has_appearances
    page = rendering(renderer, write(data), "page150").page
    height, width = page.shape[0] / 200, page.shape[1] / 300  # of a point, in pixels
    rows = slice(round(66 * height), round(114 * height))
    ticked, unticked = (page[rows, round(left * width) : round((left + 48) * width)] for left in (46, 166))
    assert (ticked < 100).mean() > 0.05 and (unticked > 200).all()


@BOTH
def test_facts_of_text(renderer: str, write: Write) -> None:
    made = rendering(renderer, write(documents.pdf(["Hello world\n" * 5])))
    facts = made.facts
    assert (facts.width_pt, facts.height_pt) == (595, 842)
    assert facts.num_chars == 50
    assert facts.num_fonts == 1
    assert facts.num_fonts_without_unicode == 0
    assert facts.private_use_share == 0
    assert facts.min_glyph_height_pt == pytest.approx(7, abs=1.7)  # 10 pt type


@BOTH
def test_facts_of_a_scan(renderer: str, write: Write) -> None:
    data = documents.image((600, 850), "L", "JPEG")
    facts = rendering(renderer, write(documents.image_pdf(data, 600, 850, "DCTDecode"))).facts
    assert facts.image_cover == pytest.approx(1.0)
    assert facts.num_chars == 0
    assert facts.min_glyph_height_pt == 0


@BOTH
def test_a_blank_page_has_no_ink(renderer: str, write: Write) -> None:
    assert rendering(renderer, write(documents.pdf([""]))).facts.ink_share == 0.0


@BOTH
@pytest.mark.parametrize("size_pt", [(8400, 8400), (18000, 36000), (4, 4), (3, 14000)])
def test_pages_of_any_size(renderer: str, size_pt: tuple[float, float], write: Write) -> None:
    path = write(documents.pdf(["x"], size_pt=size_pt))
    for mode in ("gundam", "page150"):
        views_of(rendering(renderer, path, mode))


@BOTH
@pytest.mark.parametrize(
    ("entries", "expected_pt"),
    [
        (b"/MediaBox[0 0 612 792]/CropBox[0 0 0 0]", (612, 792)),
        (b"/MediaBox[0 0 612 792]/CropBox[2000 2000 2612 2792]", (612, 792)),
        (b"/MediaBox[0 0 612 792]/CropBox[-400 0 -10 792]", (612, 792)),
        (b"/MediaBox[0 300 612 792]/CropBox[0 0 612 300]", (612, 492)),
        (b"/MediaBox[0 0 612 792]/CropBox[100 792 100 0]", (612, 792)),
        (b"/MediaBox[0 0 612 792]/CropBox[-50 -50 700 900]", (612, 792)),
        (b"/MediaBox[0 0 612 792]/CropBox[0 300 500 600]", (500, 300)),
        (b"/MediaBox[0 0 612 792]/Rotate 45", (612, 792)),
        (b"/MediaBox[0 0 612 792]/Rotate -91", (612, 792)),
        (b"/MediaBox[0 0 612 792]/Rotate 100", (612, 792)),
        (b"/MediaBox[0 0 612 792]/Rotate 450", (792, 612)),
        (b"/MediaBox[0 0 612 792]/Rotate -90", (792, 612)),
    ],
)
@pytest.mark.parametrize("is_inherited", [False, True])
def test_odd_boxes_and_rotations(
    renderer: str, entries: bytes, expected_pt: tuple[float, float], is_inherited: bool, write: Write
) -> None:
    """A crop box that has no part of the page is none; nor is a rotation by no quarter turn."""
    made = documents.page_pdf(b"", tree=entries) if is_inherited else documents.page_pdf(entries)
    facts = rendering(renderer, write(made)).facts
    assert (facts.width_pt, facts.height_pt) == pytest.approx(expected_pt)
    assert facts.num_chars == 15 and facts.has_ink


@BOTH
@pytest.mark.parametrize("unit", [b"72", b"1.5", b".5", b"1", b"0"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_pages_in_other_units(renderer: str, unit: bytes, is_compressed: bool, write: Write) -> None:
    """UserUnit: how many points one unit of the page is. It may stand inside a compressed object stream."""
    points = float(unit) or 1.0
    box = b"/MediaBox[0 0 %.6f %.6f]" % (612 / points, 792 / points)
    content = b"q %.6f 0 0 %.6f 0 0 cm BT /F 20 Tf 72 400 Td (Shown on this page) Tj ET Q" % (
        1 / points,
        1 / points,
    )
    data = documents.content_pdf(box + b"/UserUnit " + unit, content)
    if is_compressed:
        data = pymupdf.open(stream=data).tobytes(use_objstms=True, deflate=True)
        assert b"UserUnit" not in data
    made = rendering(renderer, write(data), "page150")
    plain = rendering(renderer, write(documents.page_pdf(b"/MediaBox[0 0 612 792]"), "plain"), "page150")
    assert (made.facts.width_pt, made.facts.height_pt) == pytest.approx((612, 792), abs=0.01)
    assert made.facts.min_glyph_height_pt == pytest.approx(plain.facts.min_glyph_height_pt, rel=0.02)
    assert made.page.shape == plain.page.shape
    assert np.abs(made.page.astype(int) - plain.page).mean() < 0.5


@BOTH
def test_wrong_password(renderer: str, write: Write) -> None:
    with write(documents.encrypted_pdf("secret")).open("rb") as file:
        with pytest.raises(WrongPassword):
            open_document(renderer, file, PDF, ("guess",), MAX_PIXELS)
        document = open_document(renderer, file, PDF, ("guess", "secret"), MAX_PIXELS)
        assert document.num_pages == 1
        document.close()


@BOTH
def test_page_beyond_the_document(renderer: str, write: Write) -> None:
    with pytest.raises(RenderFailure, match="page_missing"):
        rendering(renderer, write(documents.pdf()), page_index=1)


def test_a_font_without_a_map_to_unicode(write: Write) -> None:
    box = b"/MediaBox[0 0 200 200]/Resources<</Font<</F 5 0 R>>>>/Contents 4 0 R"
    glyph = b"500 0 0 0 500 500 d1 0 0 500 500 re f"
    text = b"BT /F 20 Tf 20 100 Td (aa) Tj ET"
    font = b"<</Type/Font/Subtype/Type3/FontBBox[0 0 500 500]/FontMatrix[.001 0 0 .001 0 0]/CharProcs<</g 6 0 R>>"
    font += b"/Encoding<</Type/Encoding/Differences[97/g]>>/FirstChar 97/LastChar 97/Widths[500]>>"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"]
    objects += [
        b"<</Type/Page/Parent 2 0 R%s>>" % box,
        b"<</Length %d>>stream\n%s\nendstream" % (len(text), text),
    ]
    objects += [font, b"<</Length %d>>stream\n%s\nendstream" % (len(glyph), glyph)]
    facts = rendering("mupdf", write(documents.raw_pdf(objects))).facts
    assert (facts.num_fonts, facts.num_fonts_without_unicode) == (1, 1)


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("RGB", "PNG"), ("RGB", "JPEG"), ("RGB", "WEBP"), ("RGB", "BMP"), ("RGB", "TIFF"),
        ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("L", "JPEG"), ("P", "PNG"), ("P", "GIF"), ("1", "PNG"), ("1", "TIFF"),
        ("RGBA", "PNG"), ("LA", "PNG"), ("I;16", "PNG"), ("I;16", "TIFF"), ("F", "TIFF"), ("I", "TIFF"),
        ("LAB", "TIFF"), ("RGB", "AVIF"), ("L", "AVIF"), ("RGBA", "AVIF"), ("RGB", "JPEG2000"), ("L", "JPEG2000"),
        ("RGBA", "JPEG2000"), ("LA", "JPEG2000"), ("CMYK", "JPEG2000"), ("I;16", "JPEG2000"),
        ("1", "PPM"), ("L", "PPM"), ("RGB", "PPM"), ("I;16", "PPM"),
    ],
)  # fmt: skip
def test_images_of_every_kind(mode: str, file_format: str, write: Write) -> None:
    made = rendering("pillow", write(documents.image(mode=mode, file_format=file_format)))
    assert made.page[20:60].mean() < 40, "the bar at the top is dark"
    assert made.page[-40:-20].mean() > 215, "the ground is light"
    assert made.facts.image_cover == 1.0


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "AVIF"), ("RGBA", "JPEG2000"), ("LA", "JPEG2000")],
)
def test_transparent_images_lie_on_white(mode: str, file_format: str, write: Write) -> None:
    clear = Image.new(mode, (700, 700))  # black, and wholly transparent
    buffer = io.BytesIO()
    clear.save(buffer, file_format)
    assert (rendering("pillow", write(buffer.getvalue())).page == 255).all()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, file_format: str, write: Write) -> None:
    data = documents.turned_image(orientation, file_format=file_format)
    made = rendering("pillow", write(data), "gundam")
    height, width = made.page.shape[:2]
    assert (width < height) == (orientation < 5)
    edges = [made.page[:50], made.page[-50:], made.page[:, -50:], made.page[:, :50]]
    dark = int(np.argmin([edge.mean() for edge in edges]))
    # Where the bar on the first row goes: top, bottom, right (turned clockwise) or left.
    assert dark == {1: 0, 2: 0, 3: 1, 4: 1, 5: 3, 6: 2, 7: 2, 8: 3}[orientation]


def test_tiff_orientation_is_applied_once(write: Write) -> None:
    data = documents.image(file_format="TIFF", tiffinfo={274: 6})
    assert rendering("pillow", write(data)).page[:, -50:].mean() < 60


@pytest.mark.parametrize(("file_format", "size_px"), [("JPEG", (3000, 4000)), ("AVIF", (750, 1000))])
def test_modes_in_turn_from_one_open_image(file_format: str, size_px: tuple[int, int], write: Write) -> None:
    path = write(documents.turned_image(6, size_px, file_format))
    with path.open("rb") as file:
        document = open_document("pillow", file, sniff_file(file), (), MAX_PIXELS)
        shapes = [document.render(0, mode, MAX_PIXELS).page.shape for mode in ("tiny", "large", "tiny", "page150")]
        assert shapes[0] == shapes[2] == (512, 512, 3)
        assert shapes[1] == (960, 1280, 3)
        large = document.render(0, "large", MAX_PIXELS).page
        fresh = rendering("pillow", path, "large").page
        assert (large == fresh).all()
        document.close()


def test_a_frame_a_page_of_tiff(write: Write) -> None:
    path = write(documents.tiff(3))
    sizes = [rendering("pillow", path, "page150", index).facts.width_pt for index in range(3)]
    assert sizes == [200, 250, 300]
    with pytest.raises(RenderFailure, match="page_missing"):
        rendering("pillow", path, page_index=3)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations_are_one_page(file_format: str, write: Write) -> None:
    with write(documents.animation(file_format)).open("rb") as file:
        document = open_document("pillow", file, sniff_file(file), (), MAX_PIXELS)
        assert document.num_pages == 1
        assert document.render(0, "tiny", MAX_PIXELS).page[-5:].mean() > 200
        document.close()


@pytest.mark.parametrize(
    ("size_px", "density", "expected_pt"),
    [
        ((2550, 3300), (300, 300), (612, 792)),
        ((800, 600), (0, 0), (400, 300)),  # nothing said: as if at 144 dpi
        ((2000, 4000), (72, 72), (420.84, 841.68)),  # no believable resolution: as long as A4
        ((2550, 3300), (2, 2), (650.4, 841.68)),
        ((800, 600), (float("nan"), 0), (400, 300)),
        ((800, 600), (float("inf"), float("inf")), (400, 300)),
        ((1728, 1098), (204, 98), (609.88, 806.69)),  # a fax
        ((1098, 1728), (98, 204), (806.69, 609.88)),
        ((1728, 1098), (204, 20), (841.68, 534.82)),  # no pixels are so oblong
        ((600, 400), (2, 1), (300, 400)),  # twice as high as wide, and no believable resolution
        ((576, 9000), (0, 0), (288, 4500)),  # a till roll
        ((3000, 40000), (0, 0), (295.2, 3936)),
    ],
)
def test_size_of_images_in_points(
    size_px: tuple[int, int], density: tuple[float, float], expected_pt: tuple[float, float]
) -> None:
    assert size_pt(size_px, density) == pytest.approx(expected_pt, rel=1e-3)


def scene(size_px: tuple[int, int], mode: str = "L") -> Image.Image:
    return documents.drawing((864, 1144)).resize(size_px).convert(mode)


def with_resolution_box(jp2: bytes, dpi: tuple[int, int]) -> bytes:
    """ISO 15444-1, I.5.3.7: dots to the metre, down before across, each a fraction and a power of ten."""
    across, down = (round(number / 0.000254) for number in dpi)
    capture = struct.pack(">I4sHHHHBB", 18, b"resc", down // 100, 1, across // 100, 1, 0, 0)
    box = struct.pack(">I4s", 8 + len(capture), b"res ") + capture
    start = jp2.index(b"jp2h") - 4
    size = int.from_bytes(jp2[start : start + 4], "big")
    header = struct.pack(">I", size + len(box)) + jp2[start + 4 : start + size] + box
    return jp2[:start] + header + jp2[start + size :]


@pytest.mark.parametrize(
    ("file_format", "save"),
    [
        ("TIFF", {"dpi": (204, 98)}),
        ("TIFF", {"dpi": (204, 98), "compression": "group4"}),
        ("PNG", {"dpi": (204, 98)}),
        ("BMP", {"dpi": (204, 98)}),
        ("JPEG", {"dpi": (204, 98), "quality": 95}),
        ("WEBP", {"exif": documents.exif({282: 204, 283: 98, 296: 2}), "quality": 95}),
        ("AVIF", {"exif": documents.exif({282: 204 / 2.54, 283: 98 / 2.54, 296: 3}), "speed": 10}),
        ("JPEG2000", {}),
    ],
)
def test_pixels_that_are_not_square(file_format: str, save: dict[str, Any], write: Write) -> None:
    size, mode = (1728, 1098), "1" if "compression" in save else "L"
    buffer, square = io.BytesIO(), io.BytesIO()
    scene(size, mode).save(buffer, file_format, **save)
    scene((1728, 2286)).save(square, "PNG", dpi=(204, 204))
    data = buffer.getvalue() if save else with_resolution_box(buffer.getvalue(), (204, 98))
    fax, page = write(data, "fax"), write(square.getvalue(), "page")
    for render_mode in ("page150", "gundam"):
        made, expected = rendering("pillow", fax, render_mode), rendering("pillow", page, render_mode)
        assert (made.facts.width_pt, made.facts.height_pt) == pytest.approx((609.9, 806.7), abs=0.3)
        assert len(made.layout.view_shapes) == len(expected.layout.view_shapes)
        assert made.page.shape == pytest.approx(expected.page.shape, abs=1)
        small = [Image.fromarray(one.page).resize((64, 96)) for one in (made, expected)]
        assert np.abs(np.asarray(small[0]).astype(int) - np.asarray(small[1])).mean() < 6


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_shape_of_pixels_without_a_resolution(orientation: int, write: Write) -> None:
    """JFIF's densities without a unit, by which pixels are twice as high as wide; turned with the picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    scene((600, 400)).save(buffer, "JPEG", exif=exif)
    data = bytearray(buffer.getvalue())
    start = data.find(b"JFIF\0")
    if start < 0:  # Pillow writes no JFIF header before EXIF
        header = b"\xff\xe0\x00\x10JFIF\0\x01\x01\x00" + struct.pack(">HH", 2, 1) + b"\0\0"
        data[2:2] = header
    else:
        data[start + 7 : start + 12] = b"\0" + struct.pack(">HH", 2, 1)
    facts = rendering("pillow", write(bytes(data))).facts
    size = (300, 400) if orientation == 1 else (400, 300)
    assert (facts.width_pt, facts.height_pt) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([{}, {254: 1}], 1),  # a preview
        ([{254: 0}, {254: 4}], 1),  # a mask
        ([{254: 2}, {254: 2}], 2),  # pages of a document
        ([{255: 1}, {255: 2}], 1),  # a preview, as it was said before
        ([{254: 1}, {254: 0}], 1),
        ([{254: 1}, {254: 5}], 2),  # or nothing would be left
        ([{}, {}], 2),
    ],
)
def test_previews_and_masks_of_a_tiff_are_no_pages(
    tags: list[dict[int, int]], expected: int, write: Write
) -> None:
    sizes = [200 + 50 * number for number in range(len(tags))]
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        for size, more in zip(sizes, tags, strict=True):
            Image.new("L", (size, 300), "white").save(writer, "TIFF", tiffinfo=more)
            writer.newFrame()
    marks = [more.get(254, 1 if more.get(255) == 2 else 0) for more in tags]
    pages = [size for size, mark in zip(sizes, marks, strict=True) if not mark & 5] or sizes
    with write(buffer.getvalue()).open("rb") as file:
        document = open_document("pillow", file, "image/tiff", (), MAX_PIXELS)
        assert document.num_pages == expected
        found = [document.render(index, "page150", MAX_PIXELS).facts.width_pt for index in range(expected)]
        document.close()
    assert found == [size / 2 for size in pages]


def test_a_rendering_process_loads_no_library_that_phones_home() -> None:
    code = "import sys; from quire.rasterize.documents import load_libraries; load_libraries(['mupdf', 'pdfium'])"
    code += "; print(*(name for name in ('onnxruntime', 'openvino', 'pymupdf4llm') if sys.modules.get(name)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=BOUND_S, check=True
    )
    assert done.stdout == "\n"
