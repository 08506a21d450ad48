"""Pages for the feed benchmark, made by code: dense born-digital text, a ruled table, and scans.

Scans are rendered text with grain, once as JPEG in grey and colour, once as black and white Flate: what
scanners put into PDFs. This module writes PDF by hand, so that it depends on no PDF library.
"""

from __future__ import annotations

import io
import random
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_A4_PT = (595, 842)
_WORDS = (
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "he",
    "his",
    "but",
    "at",
    "are",
    "this",
    "have",
    "from",
    "or",
    "had",
    "an",
    "they",
    "which",
    "one",
    "you",
    "were",
    "all",
    "her",
    "she",
    "there",
    "would",
    "their",
    "we",
    "him",
    "been",
    "has",
    "when",
    "who",
    "will",
    "no",
    "more",
    "if",
    "out",
    "so",
    "up",
    "said",
    "measurement",
    "settlement",
    "provision",
    "agreement",
    "temperature",
    "coefficient",
    "department",
    "observation",
    "significance",
)


def write_pages(folder: Path, num_pages: int) -> list[Path]:
    """Write one PDF of `num_pages` pages of each kind, and return their paths."""
    draw = random.Random(7)
    kinds = {
        "text-two-columns": [_text_page(draw, columns=2, type_size=8) for _ in range(num_pages)],
        "text-one-column": [_text_page(draw, columns=1, type_size=10) for _ in range(num_pages)],
        "table": [_table_page(draw) for _ in range(num_pages)],
        "scan-grey-200dpi": [_scan_page(draw, 200, "L") for _ in range(num_pages)],
        "scan-colour-150dpi": [_scan_page(draw, 150, "RGB") for _ in range(num_pages)],
        "scan-bitonal-300dpi": [_scan_page(draw, 300, "1") for _ in range(num_pages)],
    }
    paths = []
    for name, pages in kinds.items():
        paths.append(folder / f"{name}.pdf")
        paths[-1].write_bytes(_pdf(pages))
    return paths


def write_text(path: Path, num_pages: int, columns: int = 1, seed: int = 7) -> None:
    """One born-digital document, as long as asked for."""
    draw = random.Random(seed)
    path.write_bytes(_pdf([_text_page(draw, columns, type_size=10) for _ in range(num_pages)]))


_Page = tuple[bytes, bytes]  # content stream, image object ("" for none)


def _text_page(draw: random.Random, columns: int, type_size: int) -> _Page:
    width, leading = 515 // columns, type_size + 2
    lines = []
    for column in range(columns):
        for row in range(760 // leading):
            x, y = 40 + column * width, 800 - row * leading
            text = _line(draw, int((width - 15) / type_size * 2.05))
            font = "F2" if row % 17 == 0 else "F1"
            lines.append(f"BT /{font} {type_size} Tf {x} {y} Td ({text}) Tj ET")
    return "\n".join(lines).encode(), b""


def _table_page(draw: random.Random) -> _Page:
    parts = ["0.4 w"]
    for row in range(60):
        y = 800 - row * 12.5
        parts.append(f"40 {y - 3:.1f} m 555 {y - 3:.1f} l S")
        for col in range(10):
            x = 42 + col * 51.5
            parts.append(f"BT /F1 7 Tf {x:.1f} {y:.1f} Td ({draw.randrange(10**7):,}) Tj ET")
            parts.append(f"{x - 2:.1f} {y - 3:.1f} m {x - 2:.1f} {y + 9.5:.1f} l S")
    return "\n".join(parts).encode(), b""


def _scan_page(draw: random.Random, dpi: int, mode: str) -> _Page:
    width, height = (round(side * dpi / 72) for side in _A4_PT)
    page = Image.new("L", (width, height), 244)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=dpi / 7.2)
    for y in range(dpi // 2, height - dpi // 2, dpi // 5):
        pen.text((dpi // 2, y), _line(draw, 88), fill=35, font=font)
    grain = np.random.default_rng(draw.randrange(10**6)).normal(0, 4, (height, width))
    page = Image.fromarray((np.asarray(page) + grain).clip(0, 255).astype(np.uint8))
    head = f"<</Type/XObject/Subtype/Image/Width {width}/Height {height}"
    if mode == "1":
        bits = page.point(lambda level: 255 if level > 128 else 0).convert("1").tobytes()
        data, rest = zlib.compress(bits), "/ColorSpace/DeviceGray/BitsPerComponent 1/Filter/FlateDecode"
    else:
        buffer = io.BytesIO()
        page.convert(mode).save(buffer, "JPEG", quality=75)
        space = "DeviceGray" if mode == "L" else "DeviceRGB"
        data, rest = buffer.getvalue(), f"/ColorSpace/{space}/BitsPerComponent 8/Filter/DCTDecode"
    image = f"{head}{rest}/Length {len(data)}>>stream\n".encode() + data + b"\nendstream"
    return f"q {_A4_PT[0]} 0 0 {_A4_PT[1]} 0 0 cm /I Do Q".encode(), image


def _line(draw: random.Random, num_chars: int) -> str:
    text = ""
    while len(text) < num_chars:
        text += draw.choice(_WORDS) + " "
    return text[:num_chars]


def _pdf(pages: list[_Page]) -> bytes:
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b""]
    objects += [b"<</Type/Font/Subtype/Type1/BaseFont/%s>>" % name for name in (b"Helvetica", b"Times-Bold")]
    kids = []
    for content, image in pages:
        images = b""
        if image:
            objects.append(image)
            images = b"/XObject<</I %d 0 R>>" % len(objects)
        compressed = zlib.compress(content)
        stream = b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(compressed), compressed)
        objects.append(stream)
        resources = b"<</Font<</F1 3 0 R/F2 4 0 R>>%s>>" % images
        box = b"[0 0 %d %d]" % _A4_PT
        page = (b"<</Type/Page/Parent 2 0 R/MediaBox", box, b"/Resources", resources)
        objects.append(b"".join(page) + b"/Contents %d 0 R>>" % len(objects))
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(kids), b" ".join(kids))
    return _assemble(objects)


def _assemble(objects: list[bytes]) -> bytes:
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, size = len(out), len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return bytes(out)
