"""Documents for tests, made by code: good, odd and broken ones. Everything returns bytes."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

import numpy as np
import pillow_heif
import pymupdf
from PIL import Image, ImageDraw, ImageFont

LINE = "The quick brown fox jumps over the lazy dog 0123456789. "


def pdf(pages: Sequence[str] = (LINE,), size_pt: tuple[float, float] = (595, 842), **save: object) -> bytes:
    """A born-digital PDF, one page a text ("" for a blank one). `save` goes to PyMuPDF (encryption …)."""
    document = pymupdf.open()
    for text in pages:
        page = document.new_page(width=size_pt[0], height=size_pt[1])
        for row, line in enumerate(text.splitlines()):
            page.insert_text((72, 90 + 14 * row), line, fontsize=10)
    return _saved(document, **save)


def rotated_pdf(angle: int) -> bytes:
    """A page with one line at its top, turned by `angle` for the viewer."""
    document = pymupdf.open()
    page = document.new_page(width=400, height=600)
    page.draw_rect((20, 20, 380, 60), fill=(0, 0, 0))
    page.set_rotation(angle)
    return _saved(document)


def annotated_pdf() -> bytes:
    """A page whose only content is an annotation and a filled form field."""
    document = pymupdf.open()
    page = document.new_page()
    page.add_freetext_annot((72, 72, 400, 120), "Only in an annotation", fontsize=18)
    widget = pymupdf.Widget()
    widget.field_type, widget.field_name = pymupdf.PDF_WIDGET_TYPE_TEXT, "name"
    widget.rect, widget.field_value, widget.text_fontsize = pymupdf.Rect(72, 300, 400, 340), "Filled in", 18
    page.add_widget(widget)
    return _saved(document)


def form_pdf(has_appearances: bool) -> bytes:
    """A page of 300 x 200 points with a ticked box on its left and an unticked one on its right, each 60 points wide;
    how they look is said, or left to the viewer."""
    if has_appearances:
        return _form_with_appearances()
    fields = [
        b"<</Type/Annot/Subtype/Widget/FT/Btn/T(box %d)/Rect[%d 80 %d 140]/V/%s/AS/%s/F 4/MK<</BC[0]/CA(4)>>>>"
        % (number, left, left + 60, state, state)
        for number, left, state in ((1, 40, b"Yes"), (2, 160, b"Off"))
    ]
    return raw_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R 5 0 R]/NeedAppearances true>>>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Annots[4 0 R 5 0 R]>>",
            *fields,
        ]
    )


def _form_with_appearances() -> bytes:
    document = pymupdf.open()
    page = document.new_page(width=300, height=200)
    for left, is_ticked in ((40, True), (160, False)):
        widget = pymupdf.Widget()
        widget.field_type, widget.field_name = pymupdf.PDF_WIDGET_TYPE_CHECKBOX, f"box {left}"
        widget.rect, widget.field_value = pymupdf.Rect(left, 60, left + 60, 120), is_ticked
        widget.border_width, widget.border_color = 2, (0, 0, 0)
        page.add_widget(widget)
    return _saved(document)


def encrypted_pdf(user_password: str = "", owner_password: str = "owner") -> bytes:
    method = pymupdf.PDF_ENCRYPT_AES_256
    return pdf(encryption=method, user_pw=user_password, owner_pw=owner_password)


def raw_pdf(objects: Sequence[bytes]) -> bytes:
    """A PDF of these objects, numbered from 1, of which the first is the catalog."""
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, size = len(out), len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return bytes(out)


def pdf_with_files(
    attached: Sequence[bytes] = (), annotated: Sequence[bytes] = (), catalog: bytes = b"", is_flat: bool = False
) -> bytes:
    """A page, and files inside: attachments of these names, below a node of their name tree or not, and annotations of
    the page that hold one."""
    specification = b"<</Type/Filespec/F(plain)/UF(%s)/EF<</F 4 0 R>>>>"
    names = b"/Names[%s]" % b"".join(
        b"(key%07d)%s" % (number, specification % name) for number, name in enumerate(attached)
    )
    tree = names if is_flat else b"/Kids[<</Limits[(key0000000)(key9999999)]%s>>]" % names
    annotations = b"".join(
        b"<</Type/Annot/Subtype/FileAttachment/Rect[9 9 30 30]/FS%s>>" % (specification % name)
        for name in annotated
    )
    return raw_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles<<%s>>>>%s>>" % (tree, catalog),
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Annots[%s]>>" % annotations,
            b"<</Type/EmbeddedFile/Length 3>>stream\nabc\nendstream",
        ]
    )


def page_tree_pdf(stated_count: int, real_count: int) -> bytes:
    """A PDF whose page tree states another number of pages than it holds."""
    kids = b" ".join(b"%d 0 R" % (3 + index) for index in range(real_count))
    tree = b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, stated_count)
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>"
    return raw_pdf([b"<</Type/Catalog/Pages 2 0 R>>", tree] + [page] * real_count)


def image_pdf(
    data: bytes,
    width: int,
    height: int,
    filter_name: str,
    space: str = "DeviceGray",
    *,
    bits: int = 8,
    more: str = "",
    stamp: str = "",
) -> bytes:
    """A page that is one image, encoded as it is given, with `bits` a channel; `more` of its dictionary; and perhaps a
    line of text over its foot."""
    content = b"q 595 0 0 842 0 0 cm /I Do Q BT /F 10 Tf 300 20 Td (%s) Tj ET" % stamp.encode()
    head = f"<</Type/XObject/Subtype/Image/Width {width}/Height {height}/ColorSpace/{space}{more}"
    head += f"/BitsPerComponent {bits}/Filter/{filter_name}/Length {len(data)}>>stream\n"
    resources = b"<</XObject<</I 5 0 R>>/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources%s/Contents 4 0 R>>" % resources
    return raw_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            page,
            b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
            head.encode() + data + b"\nendstream",
        ]
    )


def page_pdf(
    entries: bytes, text: str = "Shown on this page", at: tuple[int, int] = (72, 400), tree: bytes = b""
) -> bytes:
    """A page of a line of text, with these entries of its own (boxes, rotation …), and others that it inherits."""
    return content_pdf(entries, b"BT /F 20 Tf %d %d Td (%s) Tj ET" % (*at, text.encode()), tree)


def content_pdf(entries: bytes, content: bytes, tree: bytes = b"") -> bytes:
    """A page of this content, whose font is /F."""
    fonts = b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    return raw_pdf(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1%s>>" % tree,
            b"<</Type/Page/Parent 2 0 R%s%s/Contents 4 0 R>>" % (entries, fonts),
            b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        ]
    )


def endless_pdf() -> bytes:
    """A page that takes any renderer minutes: form XObjects that draw each other ten times, ten deep."""
    box = b"/BBox[0 0 595 842]/Type/XObject/Subtype/Form"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</XObject<</X 5 0 R>>>>/Contents 4 0 R>>",
        b"<</Length 5>>stream\n/X Do\nendstream",
    ]
    for depth in range(10):
        calls = b"/X Do " * 10
        inner = b"/Resources<</XObject<</X %d 0 R>>>>" % (6 + depth)
        objects.append(b"<<%s%s/Length %d>>stream\n%s\nendstream" % (box, inner, len(calls), calls))
    paint = b"10 10 500 700 re f 0.5 0.5 0.5 rg 10 10 m 300 900 500 20 400 400 c f"
    objects.append(b"<<%s/Length %d>>stream\n%s\nendstream" % (box, len(paint), paint))
    return raw_pdf(objects)


def zeros_deflated(num_bytes: int) -> bytes:
    """What inflates to so many zero bytes."""
    compressor, block = zlib.compressobj(1), bytes(1 << 20)
    parts = [compressor.compress(block) for _ in range(num_bytes >> 20)]
    return b"".join(parts) + compressor.compress(block[: num_bytes & 0xFFFFF]) + compressor.flush()


def image(
    size_px: tuple[int, int] = (800, 1100), mode: str = "RGB", file_format: str = "PNG", **save: object
) -> bytes:
    """A white picture of some lines of text with a black bar along its top, in any of Pillow's modes."""
    picture = drawing(size_px)
    buffer = io.BytesIO()
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    if file_format == "AVIF":
        save = {"speed": 10, **save}  # a second a picture otherwise
    picture.save(buffer, file_format, **save)  # type: ignore[arg-type]
    return buffer.getvalue()


def heic(size_px: tuple[int, int] = (400, 550)) -> bytes:
    """The same as HEIC."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(drawing(size_px)).save(buffer)
    return buffer.getvalue()


def drawing(size_px: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size_px, "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=20)
    pen.rectangle((0, 0, size_px[0], size_px[1] // 10), fill="black")
    for y in range(size_px[1] // 5, size_px[1] - 30, 40):
        pen.text((20, y), LINE, fill="black", font=font)
    return picture


def turned_image(orientation: int, size_px: tuple[int, int] = (800, 1100), file_format: str = "JPEG") -> bytes:
    """An image whose EXIF says how to turn it upright."""
    return image(size_px, file_format=file_format, exif=exif({0x0112: orientation}))


def exif(tags: dict[int, float]) -> bytes:
    made = Image.Exif()
    made.update(tags)
    return made.tobytes()


def animation(file_format: str) -> bytes:
    """Two frames, of which the first is the document."""
    frames = [drawing((300, 300)), Image.new("RGB", (300, 300), "red")]
    buffer = io.BytesIO()
    frames[0].save(buffer, file_format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def tiff(num_frames: int) -> bytes:
    frames = [drawing((400 + 100 * index, 600)) for index in range(num_frames)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:], compression="tiff_lzw")
    return buffer.getvalue()


def _saved(document: pymupdf.Document, **save: object) -> bytes:
    data = bytes(document.tobytes(**save))
    document.close()
    return data
