"""Raw completion → blocks → Markdown, and the verdict on a completion: whole, cut off, or looping.

Pure functions over strings. Model output may be hostile. It is matched strictly, in time that grows with its length,
and never evaluated. What is malformed is taken as text. One module for each format in which models write:

    grounding     tags with boxes, as DeepSeek-OCR and Unlimited-OCR write; plain Markdown where there are none
    markdown      Markdown, with tables as HTML or Markdown and formulas as LaTeX
    front_matter  the same below a YAML header, as olmOCR writes
    layout_json   a JSON list of elements with boxes in pixels, as dots.ocr writes

Does not know which engine wrote the text, nor where the page came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from quire.config.profiles import Parser
from quire.parse.grounding import grounded_blocks
from quire.parse.layout_json import layout_blocks
from quire.parse.markdown import below_front_matter, markdown_blocks
from quire.records import Block, Recognition

LABELS = frozenset(
    [
        "title",
        "sub_title",
        "text",
        "list",
        "table",
        "image",
        "equation",
        "caption",
        "header",
        "footer",
        "footnote",
        "page_number",
        "code",
    ]
)
_ALIASES = {
    "image_caption": "caption",
    "table_caption": "caption",
    "figure_caption": "caption",
    "figure": "image",
    "formula": "equation",
    "number": "page_number",
    "table_footnote": "footnote",
    "picture": "image",
    "section-header": "sub_title",
    "list-item": "list",
    "page-header": "header",
    "page-footer": "footer",
}
_OUTSIDE_THE_TEXT = frozenset({"header", "footer", "page_number"})

# A text ends in a loop if its last characters are one unit, at most this long, over and over.
LONGEST_UNIT = 400
FEWEST_REPEATS = 6
LONG_LOOP = 2000  # so many characters of it are a loop even where the text may go on or has ended by itself
_SHORTEST_LOOP = 240
_TAIL = 6000


def judge(recognition: Recognition) -> Literal["ok", "loop", "truncated"]:
    """Whether a completion can be believed. An OCR engine's always can: it cannot run away.

    A model that ended by itself is looping only if most of what it wrote is the loop: rows of dots and empty table
    cells repeat without being a loop.
    """
    if recognition.blocks is not None:
        return "ok"
    if recognition.finish_reason == "loop":
        return "loop"
    text = recognition.text.rstrip()
    if recognition.finish_reason == "length":
        return "loop" if repeated_tail(text[-_TAIL:]) else "truncated"
    if not repeated_tail(text[-_TAIL:]):
        return "ok"
    repeated = repeated_tail(text)  # of the whole text: half of a long answer is longer than `_TAIL`
    return "loop" if repeated > LONG_LOOP and repeated > len(text) // 2 else "ok"


def repeated_tail(text: str) -> int:
    """Number of characters at the end of `text` that repeat one unit of at most 400; 0 if there is no loop.

    The border array of the reversed text (Knuth, Morris and Pratt) gives each prefix's smallest period, in time that
    grows with the length: 0.1 s for 200,000 characters.
    """
    tail = text.rstrip()[::-1]
    borders = [0] * len(tail)
    longest = 0
    for end in range(1, len(tail)):
        border = borders[end - 1]
        while border and tail[end] != tail[border]:
            border = borders[border - 1]
        borders[end] = border + (tail[end] == tail[border])
        length, period = end + 1, end + 1 - borders[end]
        if period <= LONGEST_UNIT and length >= max(_SHORTEST_LOOP, FEWEST_REPEATS * period):
            longest = length
    return longest


def parse(recognition: Recognition, parser: Parser, size_px: tuple[int, int] | None = None) -> tuple[Block, ...]:
    """The page's blocks in reading order: the engine's own, or those that the completion spells out.

    `size_px` is the (width, height) of the page as the model saw it; without it, boxes in pixels are dropped.
    """
    blocks: Sequence[Block] | None = recognition.blocks
    if blocks is None:
        blocks = _completion_blocks(recognition.text, parser, size_px)
    return tuple(Block(_label(b.label), clean(b.text), b.box) for b in blocks)


def _completion_blocks(text: str, parser: Parser, size_px: tuple[int, int] | None) -> Sequence[Block]:
    match parser:
        case "grounding":
            return grounded_blocks(text)
        case "markdown":
            return markdown_blocks(text)
        case "front_matter":
            return markdown_blocks(below_front_matter(text))
        case "layout_json":
            return layout_blocks(text, size_px)


def to_markdown(blocks: Sequence[Block], keep_headers_and_footers: bool = True) -> str:
    """Blocks as Markdown, one blank line between them."""
    wanted = (b for b in blocks if keep_headers_and_footers or b.label not in _OUTSIDE_THE_TEXT)
    return "\n\n".join(filter(None, (_block_markdown(block) for block in wanted)))


def clean(text: str) -> str:
    """Text that UTF-8 and Parquet can hold, without control characters, lone surrogates and outer blanks."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(c for c in text if c >= " " or c in "\n\t").strip()


def _block_markdown(block: Block) -> str:
    match block.label:
        case "title":
            return f"# {_one_line(block.text)}" if block.text else ""
        case "sub_title":
            return f"## {_one_line(block.text)}" if block.text else ""
        case "code":
            is_fenced = not block.text or block.text.startswith("```")
            return block.text if is_fenced else f"```\n{block.text}\n```"
        case _:
            return block.text


def _one_line(text: str) -> str:
    return " ".join(text.lstrip("#").split())


def _label(label: str) -> str:
    label = label.strip().lower()
    label = _ALIASES.get(label, label)
    return label if label in LABELS else "text"
