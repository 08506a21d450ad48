"""What was seen of the drawn documents, and how much each page of it stands for.

A sample of documents, and of pages within them, gives one estimate of any total. How much another draw would differ is
found by the rescaled bootstrap of Rao and Wu (Resampling inference with complex survey data, JASA 83, 1988): documents,
and pages within them, are drawn again and again from the sample. The weights take account of how much of each stratum
and document was seen; what was seen in full does not vary.

Pure arithmetic: knows only how many pages documents have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quire.records import PageFacts

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SampledPage:
    """One rendered page. `facts` is None where it could not be rendered. `view_sides_px`: longer side of each view."""

    facts: PageFacts | None
    num_image_tokens: int = 0
    view_sides_px: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SampledDocument:
    """`num_pages`: of the whole document, 0 if none can be read. `pages`: those that were looked at."""

    stratum: str
    num_pages: int
    pages: tuple[SampledPage, ...] = ()


@dataclass(frozen=True, slots=True)
class StratumSize:
    """`num_pages` is None where it is not known."""

    num_documents: int
    num_pages: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Every stratum with pages has at least one document."""

    strata: Mapping[str, StratumSize]
    documents: Sequence[SampledDocument]

    def of_stratum(self, name: str) -> list[SampledDocument]:
        return [document for document in self.documents if document.stratum == name]

    @property
    def pages(self) -> list[SampledPage]:
        """Stratum by stratum, in the order of `strata`."""
        return [page for name in self.strata for document in self.of_stratum(name) for page in document.pages]


def page_weights(sample: Sample, num_replicates: int, rng: np.random.Generator) -> Numbers:
    """How many pages each page of `sample.pages` stands for. Shape (1 + num_replicates, pages): the estimate first,
    then the replicates. The total of a quantity is the product with its values on the sampled pages."""
    blocks = [np.empty((1 + num_replicates, 0))]
    for name, size in sample.strata.items():
        documents = sample.of_stratum(name)
        if documents:
            blocks.append(_stratum_weights(documents, size, num_replicates, rng))
    return np.hstack(blocks)


def _stratum_weights(
    documents: Sequence[SampledDocument], size: StratumSize, num_replicates: int, rng: np.random.Generator
) -> Numbers:
    num_drawn = len(documents)
    share = num_drawn / size.num_documents
    again = _rescaled(num_drawn, math.sqrt(max(0.0, 1 - share)), num_replicates, rng)
    scale = np.full(1 + num_replicates, 1 / share)
    if size.num_pages is not None:  # the number of pages is known: only their properties are estimated
        num_pages = again @ np.array([document.num_pages for document in documents], dtype=float)
        scale = np.divide(size.num_pages, num_pages, out=np.zeros_like(scale), where=num_pages > 0)
    return scale[:, None] * np.hstack(
        [_of_document(document, again[:, i], share, rng) for i, document in enumerate(documents)]
    )


def _of_document(document: SampledDocument, again: Numbers, share: float, rng: np.random.Generator) -> Numbers:
    """Weights of a document's pages; `again` holds the document's weights in its stratum."""
    num_seen = len(document.pages)
    if not num_seen:
        return np.empty((len(again), 0))
    page_share = num_seen / document.num_pages
    within = _rescaled(num_seen, math.sqrt(share * max(0.0, 1 - page_share)), len(again) - 1, rng)
    return (again[:, None] + within - 1) / page_share


def _rescaled(number: int, scale: float, num_replicates: int, rng: np.random.Generator) -> Numbers:
    """Bootstrap weights around 1 for `number` things: `number` - 1 draws with replacement, shrunk towards 1 by `scale`.
    All are 1 in the first row. Shape (1 + num_replicates, number).

    The spread of a few things is known badly. So it is widened by as much as Student's distribution is wider than the
    normal one: the root of n / (n - 2) at n = `number` - 1 degrees of freedom.
    """
    weights = np.ones((1 + num_replicates, number))
    if number > 1 and scale > 0:
        scale *= math.sqrt((number - 1) / max(1, number - 3))
        draws = rng.multinomial(number - 1, np.full(number, 1 / number), size=num_replicates)
        weights[1:] += scale * (draws * (number / (number - 1)) - 1)
    return weights
