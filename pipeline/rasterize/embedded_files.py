"""Files inside a PDF: attachments, annotations that hold one, and the files of a portfolio. They are reported, and not
read.

Decides what to look at and what to say; the renderers find the names. Runs where documents are parsed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import BinaryIO

from quire.rasterize.pdf_text import object_texts
from quire.rasterize.source_bytes import map_bytes

MOST_PAGES = 500
"""Pages that are searched for annotations: pdfium parses a page to find them."""
_MOST_FILES = 1000
_MOST_NAMED = 5
_NAME_MAX_CHARS = 60


def may_be_annotated(file: BinaryIO) -> bool:
    """Whether pages may have annotations that hold files."""
    with map_bytes(file) as data:
        return any(text is None or text.find(b"FileAttachment") >= 0 for text in object_texts(data))


def told(names: Iterable[str], file: BinaryIO) -> tuple[str, int]:
    """What to say of embedded files of these names, "" where there are none; and how many there are, at most 1000."""
    first = list(islice(names, _MOST_FILES))
    if not first:
        return "", 0
    num = f"{len(first)} or more" if len(first) == _MOST_FILES else f"{len(first)}"
    files = "embedded file is" if len(first) == 1 else "embedded files are"
    shown = ", ".join([*map(_shown, first[:_MOST_NAMED]), *(["…"] if len(first) > _MOST_NAMED else [])])
    portfolio = "a portfolio, whose pages may be no more than a cover: " if _is_portfolio(file) else ""
    return f"{portfolio}{num} {files} not read ({shown})", len(first)


def _is_portfolio(file: BinaryIO) -> bool:
    with map_bytes(file) as data:
        return any(text is not None and text.find(b"/Collection") >= 0 for text in object_texts(data))


def _shown(name: str) -> str:
    """The name's printable characters only: names come from the document."""
    return "".join(filter(str.isprintable, name))[:_NAME_MAX_CHARS].strip() or "without a name"
