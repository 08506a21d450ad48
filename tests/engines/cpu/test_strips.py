"""Strips are cut into pieces that overlap, and what was found on the pieces is joined again, each line once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.engines.cpu.straighten import Quads
from quire.engines.cpu.strips import is_strip, join_pieces, pieces_of

Box = tuple[float, float, float, float]


def quad(box: Box) -> Quads:
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def detected(boxes: list[Box], start: int, stop: int, axis: int) -> Quads:
    """What a perfect detector finds on a piece: the parts of the boxes that it shows."""
    found = []
    for box in boxes:
        low, high = (1, 3) if axis == 0 else (0, 2)
        sides = list(box)
        sides[low], sides[high] = max(box[low], start) - start, min(box[high], stop) - start
        if sides[high] - sides[low] >= 3:
            found.append(quad((sides[0], sides[1], sides[2], sides[3])))
    return np.stack(found) if found else np.zeros((0, 4, 2), np.float32)


def through_pieces(boxes: list[Box], shape: tuple[int, int]) -> list[Box]:
    pieces = pieces_of(np.zeros((*shape, 3), np.uint8))
    joined = join_pieces([(piece, detected(boxes, piece.start, piece.stop, piece.axis)) for piece in pieces])
    return sorted((*map(float, q.min(axis=0)), *map(float, q.max(axis=0))) for q in joined)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1750, 1275), False), ((4000, 1240), True), ((9000, 576), True), ((576, 9000), True), ((1500, 100), False)],
)
def test_what_is_a_strip(shape: tuple[int, int], expected: bool) -> None:
    assert is_strip(np.zeros((*shape, 3), np.uint8)) == expected


@given(st.integers(1921, 24000))
def test_pieces_cover_the_strip_and_overlap(length: int) -> None:
    pieces = pieces_of(np.zeros((length, 10, 3), np.uint8))
    assert (pieces[0].start, pieces[-1].stop) == (0, length)
    assert all(after.start <= before.stop - 320 for before, after in itertools.pairwise(pieces))
    assert all(piece.stop - piece.start <= 1600 for piece in pieces)


@settings(max_examples=10, deadline=None)
@given(st.integers(20, 60), st.integers(2, 30), st.integers(0, 1300))
def test_lines_across_a_strip_come_once_each(height: int, gap: int, offset: int) -> None:
    """Two columns of lines, wherever the pieces end; boxes of neighbours may overlap by a few pixels."""
    tops = range(offset, 9000 - height, height + gap)
    boxes = [(x, float(y), x + 200.0, y + height + 3.0) for y in tops for x in (10.0, 300.0)]
    assert through_pieces(boxes, (9003, 576)) == sorted(boxes)


def test_a_line_along_a_strip_comes_whole() -> None:
    boxes: list[Box] = [(50.0, 100.0, 8900.0, 140.0), (50.0, 150.0, 8900.0, 190.0), (2000.0, 300.0, 3500.0, 340.0)]
    assert through_pieces(boxes, (576, 9000)) == sorted(boxes)


def test_nothing_found_is_nothing() -> None:
    assert through_pieces([], (9000, 576)) == []
