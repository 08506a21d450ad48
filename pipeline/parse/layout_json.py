"""A JSON list of layout elements, as dots.ocr writes: [{"bbox": [x1, y1, x2, y2], "category": …, "text": …}, …].

Boxes are in px of the page as the model saw it. Read by `json.loads` alone: nothing is repaired, and what is no such
list is text. https://github.com/rednote-hilab/dots.ocr
"""

from __future__ import annotations

import json

from quire.parse.markdown import markdown_blocks, without_special_tokens
from quire.records import Block

Box = tuple[float, float, float, float]


def layout_blocks(text: str, size_px: tuple[int, int] | None) -> list[Block]:
    """One block an element; one element that is malformed makes all of it text."""
    text = without_special_tokens(text)
    try:
        elements: object = json.loads(_unfenced(text), parse_constant=_refuse)
        if not isinstance(elements, list):
            raise ValueError("no list")
        return [_block(element, size_px) for element in elements]
    except (ValueError, RecursionError, OverflowError):  # OverflowError: numbers too large to divide
        return markdown_blocks(text)


def _block(element: object, size_px: tuple[int, int] | None) -> Block:
    """Raises `ValueError` for anything that is no element."""
    if not isinstance(element, dict):
        raise ValueError("no layout element")
    category, text, corners = element.get("category"), element.get("text", ""), element.get("bbox")
    if not (isinstance(category, str) and isinstance(text, str)):
        raise ValueError("no layout element")
    if not (isinstance(corners, list) and len(corners) == 4 and all(isinstance(x, int | float) for x in corners)):
        raise ValueError("no box")
    if category == "Formula" and text and not text.lstrip().startswith(("$", "\\[")):
        text = f"$$\n{text}\n$$"
    return Block(category, text, _share(corners, size_px) if size_px else None)


def _share(corners: list[float], size_px: tuple[int, int]) -> Box:
    """The box as shares of the page, put right where it is backwards or leaves the page."""
    width, height = size_px
    xs = sorted(min(max(x / width, 0.0), 1.0) for x in corners[::2])
    ys = sorted(min(max(y / height, 0.0), 1.0) for y in corners[1::2])
    return xs[0], ys[0], xs[1], ys[1]


def _unfenced(text: str) -> str:
    return text.strip().removeprefix("```json").removesuffix("```")


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
