"""Tags with boxes, as DeepSeek-OCR and its kin write, in the two forms that are known:

    <|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2], …]<|/det|>text     DeepSeek-OCR, DeepSeek-OCR-2
    <|det|>label [x1, y1, x2, y2]<|/det|>text                        Unlimited-OCR, beside the first

Coordinates are 0–999 over the page. A malformed tag is text. Knows nothing of labels' meanings.
"""

from __future__ import annotations

import re

from quire.parse.markdown import markdown_blocks, without_special_tokens
from quire.records import Block

# Every repetition is bounded and can match in one way only, so that no text takes long.
_BOX = r"\[\s{0,8}\d{1,4}\s{0,8}(?:,\s{0,8}\d{1,4}\s{0,8}){3}\]"
_BOXES = rf"(?:{_BOX}(?:\s{{0,8}},)?\s{{0,8}}){{1,64}}"
_TAG = re.compile(
    rf"<\|ref\|>([^<|]{{1,64}})<\|/ref\|><\|det\|>\[({_BOXES})\]<\|/det\|>"
    rf"|<\|det\|>([^<|\[\]]{{1,64}})({_BOXES})<\|/det\|>"
)
_FULL_SCALE = 999
_NUMBER = re.compile(r"\d{1,4}")


def grounded_blocks(text: str) -> list[Block]:
    """One block a tag; text ahead of the first tag is read as Markdown, and so is a text without tags."""
    tags = list(_TAG.finditer(text))
    starts = [tag.start() for tag in tags] + [len(text)]
    blocks = markdown_blocks(text[: starts[0]])
    for tag, end in zip(tags, starts[1:], strict=True):
        label, boxes = tag.group(1) or tag.group(3), tag.group(2) or tag.group(4)
        blocks.append(Block(label, without_special_tokens(text[tag.end() : end]), _union(boxes)))
    return blocks


def _union(boxes: str) -> tuple[float, float, float, float]:
    """The smallest box around all of a tag's boxes, as shares of the page."""
    numbers = [min(int(n), _FULL_SCALE) / _FULL_SCALE for n in _NUMBER.findall(boxes)]
    x0, y0, x1, y1 = (numbers[side::4] for side in range(4))
    return min(*x0, *x1), min(*y0, *y1), max(*x0, *x1), max(*y0, *y1)
