"""Between detector and recogniser: which pieces of the upright page are read, and what becomes of each.

Boxes that join columns or cells are cut at the gaps in their ink; boxes that are not level rectangles keep their four
corners. Knows pixels and boxes, not the models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from quire.engines.cpu import straighten
from quire.engines.cpu.ink import Grey, find_gaps, has_bullet
from quire.engines.cpu.straighten import Quads
from quire.page_layout.gutters import cut_at_gutters
from quire.page_layout.lines import Box, Line
from quire.page_layout.white_space import ALIGNED
from quire.records import Pixels

_PAD = 0.15  # box heights around a piece that was cut at its ink
_SAME = 0.8  # of a fragment's width inside another piece of the same line: its text is read there
_LEVEL_DEG = 1.0  # boxes up to that slope are cut out as rectangles


def find_pieces(image: Pixels, grey: Grey, quads: Quads) -> list[tuple[Box, Quads | None]]:
    """What to recognise: a rectangle of the upright page, or a quad where the box is no level rectangle."""
    level, others = [], []
    tall = straighten.is_tall(quads)
    for quad, is_upright in zip(quads, tall, strict=True):
        box = straighten.box_of(quad, image)
        if is_upright or _slope_deg(quad) > _LEVEL_DEG:
            others.append((box, quad))
        else:
            level.append(box)
    height = float(np.median([box[3] - box[1] for box in level])) if level else 1.0
    fragments = cut_at_gutters([find_gaps(grey, box) for box in level], height)
    cut = [(fragment, None) for fragment in _without_doubles(fragments)]
    return [(box, quad) for box, quad in [*cut, *others] if box[2] - box[0] >= 2 and box[3] - box[1] >= 2]


def _without_doubles(fragments: Sequence[Sequence[Box]]) -> list[Box]:
    """The fragments of all boxes, without those that lie in a wider one. Where two boxes overlap, a cut separates the
    end of one of them, and that end would be read twice."""
    pieces = np.array([box for parts in fragments for box in parts], np.float64).reshape(-1, 4)
    return [box for parts in fragments for box in parts if len(parts) == 1 or not _lies_in_another(box, pieces)]


def _lies_in_another(box: Box, pieces: NDArray[np.float64]) -> bool:
    x0, y0, x1, y1 = pieces.T
    common = np.minimum(x1, box[2]) - np.maximum(x0, box[0])
    is_on_line = np.abs((y0 + y1) / 2 - (box[1] + box[3]) / 2) < ALIGNED * (box[3] - box[1])
    is_wider = x1 - x0 > box[2] - box[0]
    return bool((is_wider & is_on_line & (common >= _SAME * (box[2] - box[0]))).any())


def _slope_deg(quad: Quads) -> float:
    along = quad[1] - quad[0]
    return abs(math.degrees(math.atan2(float(along[1]), float(along[0]))))


def cut_strip(image: Pixels, box: Box, quad: Quads | None) -> Pixels:
    if quad is not None:
        return straighten.cut_out(image, quad)
    pad = _PAD * (box[3] - box[1])
    return image[round(box[1]) : round(box[3]), max(0, round(box[0] - pad)) : round(box[2] + pad)]


def as_line(text: str, score: float, box: Box, quad: Quads | None, grey: Grey, boxes: Sequence[Box]) -> Line:
    is_tall = is_vertical(quad)
    bullet = not is_tall and len(text.split(" ", 1)[0]) > 1 and _is_first(box, boxes) and has_bullet(grey, box)
    return Line(text, *box, score=score, has_bullet=bullet, is_vertical=is_tall)


def is_vertical(quad: Quads | None) -> TypeGuard[Quads]:
    return quad is not None and bool(straighten.is_tall(quad[None])[0])


def _is_first(box: Box, boxes: Sequence[Box]) -> bool:
    """Whether nothing detected stands shortly before a box."""
    reach = box[0] - 3 * (box[3] - box[1])
    return not any(
        other is not box and reach < other[2] <= box[0] + 1 and other[1] < box[3] and other[3] > box[1]
        for other in boxes
    )
