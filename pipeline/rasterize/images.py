"""Raster images as pages, through Pillow (and pillow-heif where it is installed).

An image is decoded once, JPEG at a reduced size where that is enough, turned upright, put on white, and
scaled to each view. It does not know processes or limits other than the number of pixels.

An image's size in points follows from its resolution where that is believable. Else it counts as 144 dpi; if it would
be longer than an A4 sheet, it gets that length. A strip, longer for its width than any sheet, gets half a sheet's
width. Pixels need not be square: faxes have half as many lines as columns to the inch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import AvifImagePlugin, ExifTags, Image, ImageOps, features

from quire.rasterize import facts, media_type
from quire.rasterize.modes import NOMINAL_DPI, Layout, layout
from quire.rasterize.views import RenderFailure, Rendering
from quire.records import PageFacts, Pixels

_FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    media_type.HEIC: "HEIF",
    media_type.AVIF: "AVIF",
    media_type.JPEG_2000: "JPEG2000",
    media_type.ANYMAP: "PPM",
}
_PARTS_OF_PILLOW = {media_type.AVIF: "avif", media_type.JPEG_2000: "jpg_2000"}
"""What a self-built Pillow may lack."""
_ORIENTATION_TAG = 0x0112
_LARGEST_JPEG_REDUCTION = 8
_BELIEVABLE_DPI = (100.0, 1200.0)
_MOST_OBLONG = 4.0  # the most that is believed of a pixel: coarse faxes have 204 x 98 to the inch
_A4_LENGTH_IN = 11.69
_STRIP_WIDTH_IN = 4.1  # of a till roll, or a telephone's screen
_PREVIEW, _MASK = 1, 4  # bits of NewSubfileType, TIFF 6.0, section 8
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _OLD_PREVIEW = 254, 255, 2
_MAX_LENGTH_IN = 47.0  # A0; an image that says it is larger has a wrong resolution


class ImageDocument:
    """An image held open: one page, or one a frame for TIFF. Animations are their first frame.

    Raises `RenderFailure` for a format whose library is not there, and Pillow's errors.
    """

    def __init__(self, file: BinaryIO, media_type_: str, max_pixels: int) -> None:
        if media_type_ == media_type.HEIC:
            _register_heif()
        _insist_on_part(media_type_)
        # A picture's cost, above all its memory, must not depend on the machine's cores.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # pyrefly: ignore[bad-assignment]
        # Pillow refuses at twice this; what counts is the size after JPEG's reduction, which `render` checks.
        Image.MAX_IMAGE_PIXELS = max_pixels * _LARGEST_JPEG_REDUCTION**2 // 2
        self._file = file
        self._media_type = media_type_
        try:
            self._image = Image.open(file, formats=[_FORMATS[media_type_]])
        except Image.DecompressionBombError as exc:
            raise RenderFailure("too_many_pixels", str(exc)) from exc
        self._frames = _page_frames(self._image) if media_type_ == "image/tiff" else [0]

    @property
    def num_pages(self) -> int:
        return len(self._frames)

    @property
    def num_frames(self) -> int:
        """Frames of an animation, or pictures side by side. Those that cameras and TIFFs add to a picture do not
        count."""
        has_additions = self._is_jpeg or self._media_type == "image/tiff"
        return 1 if has_additions else int(getattr(self._image, "n_frames", 1))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def embedded_files(self, num_pages: int) -> Iterator[str]:
        return iter(())

    def render(self, page_index: int, mode: str, max_pixels: int) -> Rendering:
        """One frame at one mode."""
        try:
            return self._render(page_index, mode, max_pixels)
        except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as exc:
            if "truncated" in str(exc) or media_type.is_cut_short(self._file, self._media_type):
                raise RenderFailure("image_truncated", str(exc)) from exc
            raise

    def close(self) -> None:
        """Nothing to do: the file, which Pillow would close, is the caller's."""

    def _render(self, page_index: int, mode: str, max_pixels: int) -> Rendering:
        self._seek(page_index)
        if not self._is_jpeg:
            _refuse_bombs(self._image, max_pixels)  # before EXIF is asked for: PNG decodes to find it
        native_px = _upright_size(self._image)
        width_pt, height_pt = size_pt(native_px, *_density(self._image))
        square_px = _squared(native_px, width_pt / height_pt)
        chosen = layout(mode, width_pt, height_pt, native_px=square_px, max_pixels=max_pixels)
        upright = self._decode(chosen, max_pixels)
        tiled = _scale(upright, chosen.tiled_px) if chosen.num_tiles else None
        pixels = _scale(upright, chosen.content_px)
        ink_share, ink_map = facts.ink(pixels)
        page_facts = PageFacts(width_pt, height_pt, ink_share, image_cover=1.0)
        return Rendering(chosen, pixels, tiled, page_facts, ink_map)

    @property
    def _is_jpeg(self) -> bool:
        return self._image.format in ("JPEG", "MPO")

    def _seek(self, page_index: int) -> None:
        if not 0 <= page_index < self.num_pages:
            raise RenderFailure("page_missing", f"page {page_index + 1} of {self.num_pages}")
        if self._media_type == "image/tiff":
            self._image.seek(self._frames[page_index])
        elif self._is_jpeg:
            # A JPEG that was decoded reduced stays so: another mode may need more of it.
            self._image = Image.open(self._file, formats=["JPEG"])

    def _decode(self, chosen: Layout, max_pixels: int) -> Image.Image:
        if self._is_jpeg:
            _reduce(self._image, chosen)
        _refuse_bombs(self._image, max_pixels)
        self._image.load()
        ImageOps.exif_transpose(self._image, in_place=True)
        return _plain(self._image)


Density = tuple[float, float]
"""Pixels to a unit of length, across and down."""


def size_pt(
    native_px: tuple[int, int], density: Density = (0.0, 0.0), is_per_inch: bool = True
) -> tuple[float, float]:
    """An image's (width, height) in points. `density` is what the image says of itself, zeros for nothing; where it is
    not per inch, it tells the shape of a pixel alone."""
    finer, coarser = max(density), min(density)
    is_said = math.isfinite(finer) and 0 < finer <= _MOST_OBLONG * coarser
    across, down = (finer / side for side in density) if is_said else (1.0, 1.0)
    square_px = (native_px[0] * across, native_px[1] * down)
    length, width = max(square_px), min(square_px)
    is_believable = (
        is_said
        and is_per_inch
        and _BELIEVABLE_DPI[0] <= finer <= _BELIEVABLE_DPI[1]
        and length / finer <= _MAX_LENGTH_IN
    )
    dpi = finer if is_believable else max(NOMINAL_DPI, min(length / _A4_LENGTH_IN, width / _STRIP_WIDTH_IN))
    return square_px[0] * 72 / dpi, square_px[1] * 72 / dpi


def _density(image: Image.Image) -> tuple[Density, bool]:
    """What the image says, upright, and whether it is per inch: JPEG, PNG and TIFF may tell a pixel's shape alone."""
    # The shape comes first: where EXIF says nothing of resolution, Pillow says 72 dpi.
    shape = image.info.get("jfif_density", ()) if image.info.get("jfif_unit") == 0 else ()
    sayings: tuple[tuple[Any, bool], ...] = (
        (shape if shape != (1, 1) else (), False),
        (image.info.get("dpi", ()) or _exif_density(image), True),
        (image.info.get("aspect", ()), False),
        (image.info.get("resolution", ()), False),
    )
    for said, is_per_inch in sayings:
        with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
            across, down = said
            density = float(across), float(down)
            return (density[::-1] if _swaps_sides(image) else density), is_per_inch
    return (0.0, 0.0), False


def _exif_density(image: Image.Image) -> tuple[Any, ...]:
    """Across and down, to the inch; for formats that have no other place for it, as WebP, AVIF and HEIC."""
    exif = image.getexif()
    said: tuple[Any, ...] = (exif.get(ExifTags.Base.XResolution), exif.get(ExifTags.Base.YResolution))
    with contextlib.suppress(TypeError, ValueError):
        is_per_cm = exif.get(ExifTags.Base.ResolutionUnit) == 3
        return tuple(float(number) * (2.54 if is_per_cm else 1.0) for number in said)
    return ()


def _squared(native_px: tuple[int, int], aspect: float) -> tuple[int, int]:
    """The pixels that the image would have if they were square, and none were lost."""
    width, height = native_px
    return max(width, round(height * aspect)), max(height, round(width / aspect))


def _page_frames(image: Image.Image) -> list[int]:
    """The frames of a TIFF that are pages: previews and masks of other frames do not count, unless all are marked
    so."""
    tiff: Any = image
    frames = range(int(tiff.n_frames))
    pages = [frame for frame in frames if _is_page(tiff, frame)]
    tiff.seek(0)
    return pages or list(frames)


def _is_page(tiff: Any, frame: int) -> bool:
    tiff.seek(frame)
    kind = tiff.tag_v2.get(_NEW_SUBFILE_TYPE)
    if kind is None:
        return bool(tiff.tag_v2.get(_SUBFILE_TYPE) != _OLD_PREVIEW)
    return not int(kind) & (_PREVIEW | _MASK)


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError as exc:
        raise RenderFailure("unsupported", "HEIC images need pillow-heif: pip install pillow-heif") from exc
    pillow_heif.register_heif_opener()


def _insist_on_part(media_type_: str) -> None:
    part = _PARTS_OF_PILLOW.get(media_type_)
    if part and not features.check(part):
        raise RenderFailure("unsupported", f"this Pillow was built without {part}: pip install --upgrade pillow")


def _swaps_sides(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION_TAG) in (5, 6, 7, 8)


def _is_turned(image: Image.Image) -> bool:
    """Whether EXIF swaps the sides. Pillow has applied a TIFF's orientation to its size already."""
    return image.format != "TIFF" and _swaps_sides(image)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _is_turned(image) else (width, height)


def _refuse_bombs(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise RenderFailure("too_many_pixels", f"{width} x {height} px; the limit is {max_pixels} px")


def _reduce(image: Image.Image, chosen: Layout) -> None:
    """Let libjpeg decode at a half, quarter or eighth where every view still gets enough pixels."""
    width, height = (max(a, b) for a, b in zip(chosen.content_px, chosen.tiled_px, strict=True))
    image.draft(None, (height, width) if _is_turned(image) else (width, height))


def _plain(image: Image.Image) -> Image.Image:
    """The image as 8-bit grey or RGB without transparency."""
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    if image.mode.startswith("I") or image.mode == "F":
        return _to_8_bits(image)
    if image.mode == "LAB":
        return image.getchannel(0)
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits, scaled by the largest level: 12-bit scans come in 16-bit files."""
    levels = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0)
    top = float(levels.max(initial=0.0))
    if image.mode != "F":
        top = float(max(255, 2 ** int(top).bit_length() - 1))
    scaled = levels * np.float32(255 / top) if top > 0 else levels
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def _scale(image: Image.Image, size_px: tuple[int, int]) -> Pixels:
    # Bicubic, as the model's own preprocessing; the gap lets Pillow average whole pixels first when much larger.
    scaled = image.resize(size_px, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(scaled.convert("RGB"))
