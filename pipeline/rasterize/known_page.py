"""A page of Quire's own, rasterized as all pages are: an engine that cannot read it can read nothing.

Does not know what engines make of it.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from quire.config.sections import RenderSettings
from quire.rasterize.held_image import Rasterized
from quire.rasterize.sandbox import Sandbox
from quire.records import PageImage, PageRange

WORDS = "Quire reads this page."
_SIZE_PX = (1240, 1754)  # A4 at 150 dpi


async def rasterize_known_page(settings: RenderSettings, mode: str) -> Rasterized[PageImage]:
    """The page in black on white, rasterized in a process of its own. It has a failure and no image if rendering does
    not work. Raises `ConfigError` for an unknown mode."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(_png())
        file.flush()
        path = Path(file.name)
        source = PageRange(file.name, "", path.stat().st_size, "0" * 64, "image/png", 1, 0, 1)
        async with Sandbox(settings, num_workers=1) as sandbox:
            (rasterized,) = [each async for each in sandbox.rasterize(path, source, [0], mode)]
    return rasterized


def _png() -> bytes:
    image = Image.new("RGB", _SIZE_PX, "white")
    ImageDraw.Draw(image).text((150, 200), WORDS, fill="black", font=ImageFont.load_default(48))
    png = io.BytesIO()
    image.save(png, "png")
    return png.getvalue()
