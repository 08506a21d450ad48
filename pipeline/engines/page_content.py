"""The pixels of a page without what a mode adds around them. Knows views and content boxes only."""

from __future__ import annotations

import numpy as np

from quire.records import PageImage, Pixels


def content_of(page: PageImage) -> Pixels:
    """The whole-page view inside its content box, contiguous; shape (height, width, 3)."""
    view = page.views[-1]
    height, width = view.shape[:2]
    x0, y0, x1, y1 = page.content_box
    cropped = view[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)]
    return np.ascontiguousarray(cropped)
