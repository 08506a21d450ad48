"""The records that cross the borders between stages.

All of them are frozen and slotted: a stage receives a record and returns a new one. Nothing here reads a
file, renders or knows Arrow (`schema.py` turns records into tables) or Ray.

Conventions: `page_index` is 0-based; sizes carry their unit (`_px`, `_pt`, `_bytes`, `_s`); boxes are shares
of the page, 0–1, origin at the top left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

ImageT = TypeVar("ImageT")
"""`PageImage` on one machine; on a cluster, a handle to one. Only rasterizers and engines look inside."""

Pixels = NDArray[np.uint8]
"""RGB, shape (height, width, 3)."""


class DocumentStatus(StrEnum):
    """What planning found out about a document. Pages are planned for `ok`, `truncated` and `partial` only."""

    OK = "ok"
    TRUNCATED = "truncated"  # the end of the file is missing; the pages that can be found are converted
    PARTIAL = "partial"  # the setting plan.pages leaves some of its pages out; `detail` says which are read
    ENCRYPTED = "encrypted"  # no password given opens it
    CORRUPT = "corrupt"
    EMPTY = "empty"  # zero bytes, or a document of zero pages
    UNSUPPORTED = "unsupported"  # the bytes are of no media type that is read here
    TOO_LARGE = "too_large"
    IGNORED = "ignored"  # no document; its name is one that programs give to files of their own (`.DS_Store`)
    DUPLICATE = "duplicate"  # the same bytes as another document; only that one is converted
    UNREADABLE = "unreadable"  # the store did not give the bytes (no permission, or deleted since the listing)


class Outcome(StrEnum):
    """The one way in which a page ended."""

    OCR = "ocr"
    TEXT_LAYER = "text_layer"
    BLANK = "blank"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a page or a document could not be read: the stage, a kind (for counting), and a message for a person."""

    stage: Literal["fetch", "rasterize", "recognize"]
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A doubt about a page that did not fail, for users of its text: a kind (for counting), and a message.

    `damaged`: the renderer left something out, or drew only a part of it. `unsure`: it looks blank, but this is not
    certain. `empty`, `short`: it has ink, but nothing, or far too little, was read.
    """

    kind: Literal["damaged", "unsure", "empty", "short"]
    message: str


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """An object as a listing gives it. `name` is its path below the input it was found under; results are
    named after it. It is untrusted: it may hold `..`, NUL, or anything else that a store lets a key hold."""

    uri: str
    etag: str
    size_bytes: int
    name: str


NUM_EMBEDDED_FILES = "num_embedded_files"
"""The key in a document's metadata for the number of files inside it. These files are not read. Absent if there are
none."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as planning knows it.

    `doc_id` is the sha256 of the bytes in hex, empty if they could not be read. `duplicate_of` is the
    URI of the document with the same bytes. `output_name` is the safe relative path (without `.md`) under
    which results are written; no two documents of a run share one, letter case aside.
    """

    uri: str
    etag: str
    size_bytes: int
    doc_id: str
    media_type: str
    num_pages: int
    status: DocumentStatus
    detail: str = ""
    output_name: str = ""
    duplicate_of: str = ""
    metadata: tuple[tuple[str, str], ...] = ()

    def pages(self, start: int, stop: int) -> PageRange:
        """Its pages `start` (included) to `stop` (excluded)."""
        return PageRange(
            uri=self.uri,
            etag=self.etag,
            size_bytes=self.size_bytes,
            doc_id=self.doc_id,
            media_type=self.media_type,
            num_pages=self.num_pages,
            start=start,
            stop=stop,
        )


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages `start` (included) to `stop` (excluded) of one document."""

    uri: str
    etag: str
    size_bytes: int
    doc_id: str
    media_type: str
    num_pages: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of commit: a fixed list of page ranges, at most 256 pages together.

    `documents` are those whose pages all lie in this shard; they are assembled when it is committed. A document that
    spans several shards is assembled when all of them are done.
    """

    shard_id: str
    ranges: tuple[PageRange, ...]
    documents: tuple[Document, ...] = ()

    @property
    def num_pages(self) -> int:
        return sum(r.stop - r.start for r in self.ranges)

    @property
    def pages(self) -> list[tuple[str, int]]:
        """Each by doc_id and page index, in the order of the ranges."""
        return [(r.doc_id, index) for r in self.ranges for index in range(r.start, r.stop)]

    def page_indices(self, doc_id: str) -> list[int]:
        """A document's pages that lie in this shard, in order."""
        return [index for r in self.ranges if r.doc_id == doc_id for index in range(r.start, r.stop)]


INK_MAP_SIDE = 32
"""Cells of a page's ink map, across and down."""

LEAST_INK_SHARE = 2e-5
"""A page with a smaller share of ink counts as having none. A lone page number has about ten times as much (a 10 pt
digit covers some 25 of A4's 500,000 square points)."""


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What rendering a page tells about it. Does not depend on the engine.

    `ink_share`: share of pixels that differ from the page's background. `image_cover`: share of the page's
    area under images. `private_use_share`: share of characters of the text layer that are private-use or
    control codes. `min_glyph_height_pt`: height of the smallest common glyphs, 0 without a text layer.
    """

    width_pt: float
    height_pt: float
    ink_share: float
    num_chars: int = 0
    num_fonts: int = 0
    num_fonts_without_unicode: int = 0
    private_use_share: float = 0.0
    image_cover: float = 0.0
    min_glyph_height_pt: float = 0.0

    @property
    def has_ink(self) -> bool:
        """On a page with characters, any trace is ink: small print on a large sheet covers less than a speck."""
        return self.ink_share >= LEAST_INK_SHARE or (self.num_chars > 0 and self.ink_share > 0)


@dataclass(frozen=True, slots=True, eq=False)
class PageImage:
    """A page's pixels, laid out for one mode.

    `views`: the local tiles in row-major order first (`tile_cols` x `tile_rows` of them, or none), the whole
    page last. `width_px`, `height_px`: size of the whole-page view without its padding. `content_box`: where
    the page sits in the last view (x0, y0, x1, y1 as shares of that view; anything outside is padding).
    `sha256` is of the views' bytes.
    """

    doc_id: str
    page_index: int
    mode: str
    width_px: int
    height_px: int
    tile_cols: int
    tile_rows: int
    num_image_tokens: int
    dpi: float
    sha256: str
    views: tuple[Pixels, ...]
    content_box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    @property
    def num_bytes(self) -> int:
        return sum(view.nbytes for view in self.views)

    @property
    def info(self) -> ImageInfo:
        return ImageInfo(
            self.mode,
            self.width_px,
            self.height_px,
            self.num_image_tokens,
            self.dpi,
            self.sha256,
            self.num_bytes,
        )


@dataclass(frozen=True, slots=True)
class RasterizedPage:
    """What is known of a rasterized page, without its pixels: either facts about the image, perhaps with marks, or a
    failure.

    `ink_map`: the share of ink in each cell, row by row, 0 to 255; empty if it was not measured. `seconds`: the
    rendering time. Before it came `fetch_s`, the wait for the document's bytes (given with the first page after a
    fetch), and `queue_s`, the wait for a renderer.
    """

    page_index: int
    renderer: str
    seconds: float
    facts: PageFacts | None = None
    image_info: ImageInfo | None = None
    failure: Failure | None = None
    marks: tuple[Mark, ...] = ()
    ink_map: bytes = b""
    fetch_s: float = 0.0
    queue_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a page's row says of its image: `PageImage` without the pixels."""

    mode: str
    width_px: int
    height_px: int
    num_image_tokens: int
    dpi: float
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt at a page: what an engine is asked for."""

    mode: str
    prompt: str = ""
    temperature: float = 0.0
    max_output_tokens: int = 8192


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a page. `label` is one of `parse.LABELS`; `box` is None where the engine gives none.

    `text` is plain text, Markdown inline marks allowed; a table's text is a Markdown or HTML table.
    """

    label: str
    text: str
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an engine answers to one attempt.

    `text` is the raw completion, untouched. `blocks` is set only if the engine finds blocks itself (OCR engines);
    those of language models are parsed from `text`. `mean_logprob` is the natural logarithm, None if unknown.
    """

    text: str
    finish_reason: Literal["stop", "length", "loop"] = "stop"
    num_output_tokens: int = 0
    mean_logprob: float | None = None
    blocks: tuple[Block, ...] | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a page and how it ended: `ok`, `loop`, `truncated`, or the failure's kind."""

    mode: str
    temperature: float
    outcome: str


@dataclass(frozen=True, slots=True)
class PageResult:
    """A page's row before it becomes Arrow: only what the document determines. `PageTiming` has the rest.

    `ink_read_share`: of the ink that looks like text, the share that lies in blocks; None if blocks have no boxes.
    """

    doc_id: str
    source_uri: str
    source_etag: str
    page_index: int
    num_pages: int
    outcome: Outcome
    reason: str
    failure: Failure | None = None
    markdown: str = ""
    raw_text: str = ""
    blocks: tuple[Block, ...] = ()
    recognition: Recognition | None = None
    prompt: str = ""
    image: ImageInfo | None = None
    facts: PageFacts | None = None
    renderer: str = ""
    attempts: tuple[Attempt, ...] = ()
    marks: tuple[Mark, ...] = ()
    ink_read_share: float | None = None


@dataclass(frozen=True, slots=True)
class PageTiming:
    """Where a page's time went, in seconds; on which host; and when it was done (UTC). Kept apart from the page's
    row, which is the same on every host."""

    doc_id: str
    page_index: int
    render_s: float = 0.0
    recognize_s: float = 0.0
    attempt_s: Sequence[float] = field(default_factory=tuple)
    host: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PageText:
    """What assembly needs of a page."""

    page_index: int
    outcome: Outcome
    markdown: str
    num_output_tokens: int
    failure_kind: str = ""


@dataclass(frozen=True, slots=True)
class DocumentText:
    """An assembled document. `page_ends` and `page_indices` (0-based): of the pages that were planned.
    `languages`: (ISO 639-1 code, share of the letters), most frequent first."""

    text: str
    page_ends: tuple[int, ...]
    page_indices: tuple[int, ...]
    counts: dict[Outcome, int]
    languages: tuple[tuple[str, float], ...]
    num_tokens: int | None
    markdown_file: str
