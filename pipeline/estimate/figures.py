"""From a weighed sample to what a run will take, each figure with an interval.

Two things make a figure uncertain. One is which documents were drawn; `sample.py` handles it. The other is what cannot
be seen before a page is read; it is guessed between two bounds. Both are drawn again in each of a thousand replicates;
a guess is drawn once for all pages. The interval leaves out a twentieth of the replicates at each end. It does not
cover what no drawn page shows, a rare kind of page for example.

A page costs what its first attempt at the first rung of the ladder takes. Exact duplicates in a listing are not known
and count like others; a plan knows them. How long a device takes for a page is given to `reckon`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quire.estimate.sample import Numbers, Sample, SampledPage, page_weights
from quire.rasterize.text_layer import is_trustworthy

NUM_REPLICATES = 1000
LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class Guess:
    """A factor or a number between two bounds, distributed evenly on a logarithmic scale."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return math.sqrt(self.low * self.high)

    def draw(self, rng: np.random.Generator) -> Numbers:
        """The middle, then one draw a replicate."""
        draws = np.exp(rng.uniform(math.log(self.low), math.log(self.high), NUM_REPLICATES))
        return np.concatenate([[self.middle], draws])


TOKENS_PER_CHARACTER = Guess(0.28, 0.45)
"""Of a text layer, white space aside. DeepSeek counts 0.3 tokens a character of English, which makes 0.36 without
white space, and 0.6 a character of Chinese (https://api-docs.deepseek.com/quick_start/token_usage)."""
TOKENS_OF_TAGS = 0.07
"""More of them a character where the model writes a box for each block: 16 to 20 tokens for some 250 characters."""
TOKENS_WITHOUT_LAYER = Guess(600, 1900)
"""Of a page that has no text layer to go by. In the middle, what DeepSeek-OCR's authors report of their production:
2,500 tokens a second at 200,000 pages a day make 1,080 a page (arXiv:2510.18234)."""
BYTES_PER_CHARACTER = Guess(1.5, 3.5)
"""Of results, white space aside: a character is in `pages` three times and once in `documents`, compressed, and once in
a Markdown file, which is not: 2.3 bytes of the scripted engine's English, more of other scripts."""
BYTES_PER_PAGE = Guess(150, 450)
"""Of results beside the text: a row in `pages` and one in `timings`, with their files' shares."""
BYTES_PER_LATENT = 2 * 1280
"""A kept latent: as many numbers as the decoder is wide, of two bytes."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a device takes for a page: `read_s` for any page, `write_s` for so many output tokens, both to be
    multiplied by `factor`. `source` says in words where this comes from."""

    read_s: Callable[[SampledPage], float]
    write_s: Callable[[SampledPage, float], float]
    factor: Guess
    source: str


@dataclass(frozen=True, slots=True)
class Figure:
    """`low` and `high` are the ends of the middle 90 % of the replicates."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Figure:
        return Figure(self.value * factor, self.low * factor, self.high * factor)


def reckon(
    sample: Sample, pace: Pace | None, *, writes_tags: bool = False, keeps_latents: bool = False, seed: int = 0
) -> dict[str, Figure]:
    """The figures by name: `pages`, `read_pages` (those that need the model: not blank, not broken), `read_share`,
    `image_tokens`, `output_tokens`, `tokens_per_page` (of those read), `storage_bytes`, and `device_hours` where there
    is a pace."""
    rng = np.random.default_rng(seed)
    weights = page_weights(sample, NUM_REPLICATES, rng)
    pages = sample.pages
    is_read = np.array([_needs_the_model(page) for page in pages], dtype=bool)
    characters = np.array([_characters(page) for page in pages], dtype=float)
    has_layer, image_tokens = characters > 0, _column(pages, lambda page: page.num_image_tokens)
    tags = TOKENS_OF_TAGS if writes_tags else 0.0
    per_character = TOKENS_PER_CHARACTER.draw(rng) + tags
    without_layer = TOKENS_WITHOUT_LAYER.draw(rng)

    num_pages = weights.sum(axis=1)
    num_read = weights @ is_read
    with_layer, rest = is_read & has_layer, is_read & ~has_layer
    output_tokens = (weights @ (with_layer * characters)) * per_character + (weights @ rest) * without_layer
    storage = num_pages * BYTES_PER_PAGE.draw(rng)
    storage += output_tokens / per_character * BYTES_PER_CHARACTER.draw(rng)
    if keeps_latents:
        storage += (weights @ (is_read * image_tokens)) * BYTES_PER_LATENT
    replicates = {
        "pages": num_pages,
        "read_pages": num_read,
        "read_share": _ratio(num_read, num_pages),
        "image_tokens": weights @ (is_read * image_tokens),
        "output_tokens": output_tokens,
        "tokens_per_page": _ratio(output_tokens, num_read),
        "storage_bytes": storage,
    }
    if pace is not None:
        # A token of a long text takes longer. One guess of the length for all pages hardly changes that.
        tokens = np.where(
            has_layer, characters * (TOKENS_PER_CHARACTER.middle + tags), TOKENS_WITHOUT_LAYER.middle
        )
        write_s = np.array([pace.write_s(page, max(1.0, n)) for page, n in zip(pages, tokens, strict=True)])
        seconds = weights @ (is_read * _column(pages, pace.read_s))
        seconds = seconds + (weights @ (with_layer * write_s)) * per_character / per_character[0]
        seconds = seconds + (weights @ (rest * write_s)) * without_layer / without_layer[0]
        replicates["device_hours"] = seconds * pace.factor.draw(rng) / 3600
    return {name: _figure(values) for name, values in replicates.items()}


def _needs_the_model(page: SampledPage) -> bool:
    return page.facts is not None and page.facts.has_ink and bool(page.view_sides_px)


def _characters(page: SampledPage) -> int:
    """Of the page's usable text layer, or 0."""
    return page.facts.num_chars if page.facts is not None and is_trustworthy(page.facts) else 0


def _column(pages: list[SampledPage], value: Callable[[SampledPage], float]) -> Numbers:
    return np.array([value(page) for page in pages], dtype=float)


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _figure(replicates: Numbers) -> Figure:
    """Of the estimate and its replicates. No total is below 0, though a replicate's weights may be."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(replicates[1:], [tail, 1 - tail])
    return Figure(float(replicates[0]), max(0.0, float(low)), max(0.0, float(high)))
