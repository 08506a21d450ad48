"""Pages to compare CPU engines on, with the text they should give.

A corpus is a folder of documents with a `manifest.jsonl`, whose `gt_files` name ground truth. Born-digital
pages are chosen by rule, not by name: enough characters, hardly any private-use ones, Latin script, and no
image that covers the page (whose text layer would be some other OCR engine's).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf as untyped_pymupdf

from quire.records import Pixels

pymupdf: Any = untyped_pymupdf  # most of its functions carry no annotations

DPI = 150
_MIN_CHARS = 600
_MAX_PRIVATE_SHARE = 0.01
_MIN_LATIN_SHARE = 0.95
_MAX_IMAGE_COVER = 0.3
_MAX_SIDE_PT = 1300.0
_PAGES_A_DOCUMENT = 2
_TRUTH_SUFFIXES = (".txt", ".md")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    name: str
    pages: tuple[Pixels, ...]
    reference: str


def documents_with_truth(corpus: Path) -> list[Sample]:
    """Whole documents."""
    samples = []
    for line in (corpus / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        truths = [name for name in entry["gt_files"] if name.endswith(_TRUTH_SUFFIXES)]
        if truths:
            with pymupdf.open(corpus / entry["file"]) as document:
                pages = tuple(_render(page) for page in document)
            samples.append(Sample(entry["file"], pages, (corpus / truths[0]).read_text()))
    return samples


def born_digital_pages(corpus: Path, is_fresh: bool) -> list[Sample]:
    """The first pages of each document that qualify, or (fresh) the ones after these."""
    samples = []
    for path in sorted(corpus.glob("*.pdf")):
        start = _PAGES_A_DOCUMENT if is_fresh else 0
        found = list(_qualifying(path))[start : start + _PAGES_A_DOCUMENT]
        for index in found:
            with pymupdf.open(path) as document:
                page = document[index]
                samples.append(Sample(f"{path.name}:{index}", (_render(page),), page.get_text()))
    return samples


def _qualifying(path: Path, max_pages: int = 2 * _PAGES_A_DOCUMENT + 6) -> Iterator[int]:
    pymupdf.TOOLS.mupdf_display_errors(False)
    try:
        with pymupdf.open(path) as document:
            if document.needs_pass:
                return
            for index in range(min(len(document), max_pages)):
                if _is_trustworthy(document[index]):
                    yield index
    except Exception:  # broken on purpose: the corpus holds files that no library opens
        return


def _is_trustworthy(page: Any) -> bool:
    text = [char for char in page.get_text() if not char.isspace()]
    if len(text) < _MIN_CHARS or max(page.rect.width, page.rect.height) > _MAX_SIDE_PT:
        return False
    strange = sum(unicodedata.category(char) in ("Co", "Cc", "Cn") or char == "\ufffd" for char in text)
    letters = [char for char in text if char.isalpha()]
    latin = sum(unicodedata.name(char, "").startswith("LATIN") for char in letters)
    covers = [abs(pymupdf.Rect(image["bbox"]) & page.rect) for image in page.get_image_info()]
    return (
        strange <= _MAX_PRIVATE_SHARE * len(text)
        and latin >= _MIN_LATIN_SHARE * max(1, len(letters))
        and max(covers, default=0.0) <= _MAX_IMAGE_COVER * abs(page.rect)
    )


def _render(page: Any) -> Pixels:
    is_image = not page.parent.is_pdf
    scale = 1650 / max(page.rect.width, page.rect.height) if is_image else DPI / 72
    pixmap = page.get_pixmap(matrix=pymupdf.Matrix(scale, scale), alpha=False, colorspace=pymupdf.csRGB)
    return np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width, 3).copy()
