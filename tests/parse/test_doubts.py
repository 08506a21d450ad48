"""Whether a page holds more than what was read of it."""

from __future__ import annotations

import numpy as np
import pytest

from quire.parse.doubts import doubt, ink_read_share
from quire.records import INK_MAP_SIDE, Block, PageFacts

TEXT = Block("text", "Carbon copy, line 3: paid in full")
PICTURE = Block("image", "", (0.1, 0.1, 0.9, 0.9))


def facts(num_chars: int = 0, private_use_share: float = 0.0) -> PageFacts:
    return PageFacts(595, 842, 0.05, num_chars=num_chars, private_use_share=private_use_share)


def ink_map(*rows: int, level: int = 40) -> bytes:
    """Text across the page in these rows of the map."""
    cells = np.zeros((INK_MAP_SIDE, INK_MAP_SIDE), np.uint8)
    cells[list(rows)] = level
    return cells.tobytes()


@pytest.mark.parametrize(
    ("blocks", "num_chars", "read_share", "kind", "words"),
    [
        ([TEXT], 0, None, "", ""),
        ([TEXT], 60, None, "", ""),
        ([TEXT], 446, None, "short", "27 characters are read of a page whose text layer has 446"),
        ([], 0, None, "empty", "nothing is read of a page with ink"),
        ([Block("text", " … — ")], 0, 1.0, "empty", "nothing is read"),
        ([], 446, 0.0, "empty", "text layer has 446 characters"),
        ([PICTURE], 0, 0.9, "", ""),
        ([PICTURE], 0, 0.2, "empty", "a page with ink"),
        ([PICTURE], 446, 0.9, "empty", "text layer has 446 characters"),
        ([PICTURE], 12, 0.9, "", ""),  # a stamp over a photograph
        ([TEXT], 0, 0.05, "short", "covers 5% of the ink"),
        ([TEXT], 0, 0.2, "", ""),
    ],
)
def test_what_speaks_against_a_reading(
    blocks: list[Block], num_chars: int, read_share: float | None, kind: str, words: str
) -> None:
    mark = doubt(blocks, facts(num_chars), read_share)
    assert (mark.kind if mark else "") == kind
    assert words in (mark.message if mark else "")


def test_a_layer_of_codes_that_mean_nothing_says_nothing() -> None:
    assert doubt([TEXT], facts(446, private_use_share=0.95), None) is None
    assert doubt([TEXT], None, None) is None


@pytest.mark.parametrize(
    ("boxes", "ink", "expected"),
    [
        ([(0, 0, 1, 1)], ink_map(3, 9, 20), 1.0),
        ([(0, 3 / 32, 1, 4 / 32)], ink_map(3, 9, 20, 25), 0.25),
        ([(0, 3.2 / 32, 1, 3.8 / 32)], ink_map(3, 9), 0.5),  # of a cell that it touches
        ([(0, 0, 0.5, 1), (0.25, 0, 0.75, 1)], ink_map(3), 0.75),
        ([], ink_map(3), 0.0),
        ([(0, 0, 1, 1)], ink_map(), None),
        ([(0, 0, 1, 0.5)], ink_map(20, level=255), None),  # a picture, no text
        ([(0, 0, 1, 1)], b"", None),
        ([None], ink_map(3), None),
        ([(0.9, 0.9, 1.0, 1.0)], ink_map(3), 0.0),
    ],
)
def test_how_much_of_the_ink_was_read(
    boxes: list[tuple[float, float, float, float] | None], ink: bytes, expected: float | None
) -> None:
    assert ink_read_share([Block("text", "x", box) for box in boxes], ink) == expected
