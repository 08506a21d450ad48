"""Whether a page's own text layer can be believed, from what rendering told about the page.

Does not see the text itself: the facts count its characters and say what is odd about them.
"""

from __future__ import annotations

from quire.records import PageFacts

_FEWEST_CHARACTERS = 50  # fewer are a stamp or a page number over something else
_MOST_PRIVATE_USE = 0.05
_MOST_IMAGE_COVER = 0.5  # beyond it the page is a picture, and its text somebody's OCR


def is_trustworthy(facts: PageFacts) -> bool:
    """Whether the layer is likely to be the page's text, all of it, in characters that mean what they show."""
    return (
        facts.num_chars >= _FEWEST_CHARACTERS
        and facts.num_fonts_without_unicode == 0
        and facts.private_use_share <= _MOST_PRIVATE_USE
        and facts.image_cover <= _MOST_IMAGE_COVER
    )
