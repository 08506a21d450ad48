"""Which pieces of a page are recognised: boxes are cut at their gaps, and nothing is read twice."""

from __future__ import annotations

import numpy as np
import pytest

from quire.engines.cpu.pieces import find_pieces
from quire.engines.cpu.straighten import Quads

WORDS = ((20, 140), (180, 300))  # x0 and x1 of their ink
TOPS = range(20, 220, 40)


def page() -> np.ndarray:
    """Five lines of two words, whose spaces lie under one another; a letter is a stroke of 4 px."""
    grey = np.full((240, 320), 255, np.uint8)
    for top in TOPS:
        for x0, x1 in WORDS:
            for x in range(x0, x1, 8):
                grey[top + 4 : top + 20, x : x + 4] = 0
    return grey


def quads(spans: list[tuple[int, int]]) -> Quads:
    return np.array([[[a, y], [b, y], [b, y + 24], [a, y + 24]] for y in TOPS for a, b in spans], np.float32)


@pytest.mark.parametrize(
    ("detected", "expected"),
    [
        ([(20, 300)], [(20, 136), (180, 300)]),
        ([(20, 140), (180, 300)], [(20, 140), (180, 300)]),
        ([(20, 140), (130, 300)], [(20, 140), (180, 300)]),  # the other one takes in the end of the first word
        ([(20, 190), (180, 300)], [(20, 136), (180, 300)]),  # ... the start of the second
        ([(20, 140), (80, 300)], [(20, 140), (180, 300)]),
    ],
)
def test_what_two_boxes_share_is_read_once(
    detected: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    grey = page()
    pieces = find_pieces(np.stack([grey] * 3, axis=2), grey, quads(detected))
    found = sorted((box[1], round(box[0]), round(box[2])) for box, _ in pieces)
    assert found == [(top, *span) for top in TOPS for span in expected]
