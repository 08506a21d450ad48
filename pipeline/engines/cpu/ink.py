"""What the pixels of a detected box say: the gaps in its ink, and a bullet before it.

Runs in the recogniser's child process. Knows grey values and boxes, not text.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from quire.page_layout.gutters import MIN_GAP, GappedBox
from quire.page_layout.lines import Box, Interval

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_MIN_CONTRAST = 24  # grey values; below that there is no ink to speak of
_CENTRAL = (0.2, 0.8)  # rows of a box that count: underlines and the neighbours' descenders lie outside
_RULING = 0.12  # a column of ink no wider (in box heights) that fills the whole height is a ruling
_BULLET_WIDTH = (0.1, 0.7)
_BULLET_DISTANCE = (0.3, 2.2)


def ink_bounds(grey: Grey) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 around everything on a page that differs from its background; None where nothing does."""
    differs = np.abs(grey.astype(np.int16) - int(np.median(grey))) > 2 * _MIN_CONTRAST
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return None
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def find_gaps(grey: Grey, box: Box) -> GappedBox:
    """A box freed of rulings at its ends, with the gaps in its ink of at least `MIN_GAP` of its height."""
    x0, y0, x1, y1 = (round(edge) for edge in box)
    ink = _ink(grey[y0:y1, x0:x1])
    if ink is None:
        return GappedBox(box)
    rulings = _rulings(ink)
    for start, stop in rulings:
        ink[:, start:stop] = False
    runs = _runs(ink)
    if not runs:
        return GappedBox(box)
    height = y1 - y0
    between = [(a[1], b[0]) for a, b in itertools.pairwise(runs)]
    gaps = [gap for gap in between if gap[1] - gap[0] >= MIN_GAP * height]
    ruled = [gap for gap in gaps if any(gap[0] <= start and stop <= gap[1] for start, stop in rulings)]
    left = max([0, *(stop for _, stop in rulings if stop <= runs[0][0])])
    right = min([x1 - x0, *(start for start, _ in rulings if start >= runs[-1][1])])
    trimmed = (x0 + left if left else box[0], box[1], x0 + right if right < x1 - x0 else box[2], box[3])
    return GappedBox(trimmed, _shift(gaps, x0), _shift(ruled, x0))


def _shift(gaps: Sequence[tuple[int, int]], x: int) -> tuple[Interval, ...]:
    return tuple((float(x + start), float(x + stop)) for start, stop in gaps)


def has_bullet(grey: Grey, box: Box) -> bool:
    """Whether a small mark with white around it stands at the start of a box or shortly before it.

    The caller makes sure that no other box lies there, and that the recogniser has not read the mark.
    """
    x0, y0, x1, y1 = (round(edge) for edge in box)
    height = y1 - y0
    start = max(0, round(x0 - _BULLET_DISTANCE[1] * height))
    ink = _ink(grey[y0:y1, start : min(x1, x0 + 4 * height)])
    if ink is None:
        return False
    runs = _runs(ink)
    if len(runs) < 2 or (runs[0][0] <= 1 and start > 0):
        return False
    mark = ink[:, runs[0][0] : runs[0][1]]
    rows = np.flatnonzero(mark.any(axis=1))
    size = (mark.shape[1] / height, (rows[-1] + 1 - rows[0]) / height)
    distance = (runs[1][0] - runs[0][1]) / height
    is_small = all(_BULLET_WIDTH[0] <= side <= _BULLET_WIDTH[1] for side in size)
    is_solid = mark[rows[0] : rows[-1] + 1].mean() > 0.3
    return is_small and bool(is_solid) and _BULLET_DISTANCE[0] <= distance <= _BULLET_DISTANCE[1]


def _ink(crop: Grey) -> Mask | None:
    """Pixels of the rarer of the two shades (light text on dark ground is ink too)."""
    if crop.size == 0 or int(crop.max()) - int(crop.min()) < _MIN_CONTRAST:
        return None
    threshold, _ = cv2.threshold(crop, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    dark: Mask = crop <= threshold
    return dark if dark.mean() <= 0.5 else ~dark


def _rulings(ink: Mask) -> list[tuple[int, int]]:
    widest = max(2, _RULING * ink.shape[0])
    filled = np.asarray(ink.mean(axis=0) > 0.95)
    runs = _column_runs(filled)
    return [(start, stop) for start, stop in runs if stop - start <= widest]


def _runs(ink: Mask) -> list[tuple[int, int]]:
    height = ink.shape[0]
    central = ink[round(_CENTRAL[0] * height) : max(1, round(_CENTRAL[1] * height))]
    return _column_runs(np.asarray(central.any(axis=0)))


def _column_runs(columns: Mask) -> list[tuple[int, int]]:
    """Start and stop of each run of true columns."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], columns, [False])).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
