"""Whether a page holds more than what was read of it, judged from its blocks, its ink and its text layer.

Does not see pixels, and does not know which engine read the page.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quire.records import INK_MAP_SIDE, Block, Mark, PageFacts

_FEWEST_CHARACTERS = 50  # of a text layer that says how much there is to read; fewer are a stamp
_LEAST_TEXT_SHARE = 0.3  # of its characters: hidden doubles and left-out headers are less than the rest
_LEAST_INK_SHARE = 0.1  # of the ink that looks like text
_DENSEST_TEXT = 150  # of 255: a cell with more ink is a picture or a coloured field


def ink_read_share(blocks: Sequence[Block], ink_map: bytes) -> float | None:
    """Share (0 to 1) of the text-like ink that lies in blocks, pictures' blocks included. None where no block has a
    box, or there is no such ink."""
    boxes = [block.box for block in blocks if block.box is not None]
    if not ink_map or (blocks and not boxes):
        return None
    ink = np.frombuffer(ink_map, np.uint8).reshape(INK_MAP_SIDE, INK_MAP_SIDE)
    ink = np.where(ink > _DENSEST_TEXT, 0, ink)
    total = int(ink.sum())
    return float(ink[_cells_in(boxes)].sum()) / total if total else None


def doubt(blocks: Sequence[Block], facts: PageFacts | None, read_share: float | None) -> Mark | None:
    """Why this may not be all that the page says; None if there is no reason for doubt, or no ink, which has a mark of
    its own."""
    if facts is not None and not facts.has_ink:
        return None
    num_read = sum(len("".join(block.text.split())) for block in blocks)
    num_there = _num_readable(facts)
    evidence = f"a page whose text layer has {num_there} characters" if num_there else "a page with ink"
    is_picture = any(block.label == "image" for block in blocks) and (read_share or 0.0) > 0.5
    if not any(char.isalnum() for block in blocks for char in block.text) and not (is_picture and not num_there):
        return Mark("empty", f"nothing is read of {evidence}")
    if num_read < _LEAST_TEXT_SHARE * num_there:
        return Mark("short", f"{num_read} characters are read of {evidence}")
    if read_share is not None and read_share < _LEAST_INK_SHARE:
        return Mark("short", f"what is read covers {read_share:.0%} of the ink that looks like text")
    return None


def _num_readable(facts: PageFacts | None) -> int:
    """Characters of the text layer that mean something; 0 where they are too few to say anything."""
    if facts is None:
        return 0
    number = round(facts.num_chars * (1 - facts.private_use_share))
    return number if number >= _FEWEST_CHARACTERS else 0


def _cells_in(boxes: Sequence[tuple[float, float, float, float]]) -> NDArray[np.bool_]:
    """Cells that a box touches."""
    is_inside = np.zeros((INK_MAP_SIDE, INK_MAP_SIDE), np.bool_)
    for x0, y0, x1, y1 in boxes:
        rows = slice(int(y0 * INK_MAP_SIDE), -int(-y1 * INK_MAP_SIDE // 1))
        cols = slice(int(x0 * INK_MAP_SIDE), -int(-x1 * INK_MAP_SIDE // 1))
        is_inside[rows, cols] = True
    return is_inside
