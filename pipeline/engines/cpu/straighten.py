"""Turning a page upright, and cutting pieces out of it.

Runs in the recogniser's child process. Quads are (4, 2) corner points from the top left clockwise, in pixels;
a transform is a 3x3 matrix from the page as given to the upright page.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from quire.page_layout.lines import Box
from quire.records import Pixels

Quads = NDArray[np.float32]
"""Shape (n, 4, 2)."""
Transform = NDArray[np.float64]

_MIN_SKEW_DEG = 0.3  # below that rows and columns separate well enough
_MAX_SKEW_DEG = 20.0
_TALL = 1.5  # height over width from which a box counts as turned on its side (the recogniser's own limit)
_LONE = 4.0  # ... up to which it may be one narrow character that stands upright: 1, l, I
_LONG = 5.0  # the skew is measured on boxes at least that long


def is_tall(quads: Quads) -> NDArray[np.bool_]:
    """For each quad whether its text runs up or down."""
    width, height = _sides(quads)
    tall: NDArray[np.bool_] = height > _TALL * width
    return tall


def may_be_lone(quads: Quads) -> NDArray[np.bool_]:
    """For each tall quad whether a single character has that shape, or a short word on its side."""
    width, height = _sides(quads)
    lone: NDArray[np.bool_] = height <= _LONE * width
    return lone


def turn(page: Pixels, quads: Quads, num_quarters: int) -> tuple[Pixels, Quads, Transform]:
    """The page turned by quarters counter-clockwise and with its skew removed, its quads, and the transform."""
    height, width = page.shape[:2]
    transform = quarter_turns(width, height, num_quarters)
    image: Pixels = np.ascontiguousarray(np.rot90(page, num_quarters))
    moved = move(quads, transform)
    angle = _skew_deg(moved)
    if abs(angle) >= _MIN_SKEW_DEG:
        rotation = np.vstack([_rotation(image, angle), (0.0, 0.0, 1.0)])
        size = (image.shape[1], image.shape[0])
        rotated = cv2.warpAffine(
            image, rotation[:2], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        image, transform = np.asarray(rotated, dtype=np.uint8), rotation @ transform
        moved = move(quads, transform)
    return image, moved, transform


def move(quads: Quads, transform: Transform) -> Quads:
    """Quads through a transform, their corners again from the top left clockwise as the page now stands."""
    points = np.concatenate([quads, np.ones((*quads.shape[:2], 1), np.float32)], axis=2)
    moved = (points @ transform.T)[:, :, :2].astype(np.float32)
    centres = moved.mean(axis=1, keepdims=True)
    angles = np.arctan2(moved[:, :, 1] - centres[:, :, 1], moved[:, :, 0] - centres[:, :, 0])
    order = np.argsort(angles, axis=1)
    ordered: Quads = np.take_along_axis(moved, order[:, :, None], axis=1)
    return ordered


def box_of(quad: Quads, image: Pixels) -> Box:
    """The box around a quad, inside the image."""
    height, width = image.shape[:2]
    x0, y0 = np.clip(quad.min(axis=0), 0, (width, height))
    x1, y1 = np.clip(quad.max(axis=0), 0, (width, height))
    return (float(x0), float(y0), float(x1), float(y1))


def move_box(box: Box, transform: Transform) -> Box:
    """The box around a box's corners after a transform."""
    x0, y0, x1, y1 = box
    corners = np.array([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]], np.float32)
    moved = move(corners, transform)[0]
    return (*(float(v) for v in moved.min(axis=0)), *(float(v) for v in moved.max(axis=0)))  # pyrefly: ignore[bad-return]


def inverse(transform: Transform) -> Transform:
    """From the upright page back to the page as given."""
    return np.asarray(np.linalg.inv(transform), dtype=np.float64)


def cut_out(image: Pixels, quad: Quads) -> Pixels:
    """The pixels of a quad as a level strip; text that runs up or down is turned counter-clockwise."""
    top, right, bottom, left = (np.linalg.norm(quad[i] - quad[(i + 1) % 4]) for i in range(4))
    width, height = max(1, int(max(top, bottom))), max(1, int(max(left, right)))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(quad, target)
    strip = cv2.warpPerspective(
        image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC
    )
    return np.asarray(np.rot90(strip) if height > _TALL * width else strip, dtype=np.uint8)


def _sides(quads: Quads) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return (
        np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1),
        np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1),
    )


def _skew_deg(quads: Quads) -> float:
    """Median slope of the long boxes; 0 where there are too few of them, or none that is plausible."""
    width, height = _sides(quads)
    long = quads[width > _LONG * height]
    if len(long) < 3:
        return 0.0
    along = long[:, 1] - long[:, 0] + long[:, 2] - long[:, 3]
    angle = float(np.median(np.degrees(np.arctan2(along[:, 1], along[:, 0]))))
    return angle if abs(angle) <= _MAX_SKEW_DEG else 0.0


def _rotation(image: Pixels, angle_deg: float) -> Transform:
    centre = (image.shape[1] / 2, image.shape[0] / 2)
    return np.asarray(cv2.getRotationMatrix2D(centre, angle_deg, 1.0), dtype=np.float64)


def quarter_turns(width: int, height: int, num_quarters: int) -> Transform:
    """Matrix of `np.rot90(page, num_quarters)` for points (x, y)."""
    matrices = (
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 1, 0), (-1, 0, width), (0, 0, 1)),
        ((-1, 0, width), (0, -1, height), (0, 0, 1)),
        ((0, -1, height), (1, 0, 0), (0, 0, 1)),
    )
    return np.array(matrices[num_quarters % 4], dtype=np.float64)
