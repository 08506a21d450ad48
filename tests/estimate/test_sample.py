"""Weights: the estimate they give, and whether their intervals hold what they say, on corpora whose truth is known."""

import functools

import numpy as np
import pytest

from quire.estimate.population import Population
from quire.estimate.sample import (
    Numbers,
    Sample,
    SampledDocument,
    SampledPage,
    StratumSize,
    page_weights,
)
from quire.records import DocumentRef, PageFacts

NUM_SEEDS = 100
INKED, BLANK = PageFacts(595, 842, 0.1), PageFacts(595, 842, 0.0)


@functools.cache
def heavy_tailed_corpus() -> tuple[list[DocumentRef], dict[str, int]]:
    """Documents and their pages. A twentieth of them hold more than half of all pages; a third are scans, of many times
    the bytes a page."""
    rng = np.random.default_rng(7)
    number = 1500
    pages = np.maximum(1, np.exp(rng.normal(1.3, 1.5, number))).astype(int)
    pages = np.where(
        rng.random(number) < 0.01, np.minimum(3000, pages * (10 + 10 * rng.pareto(1.2, number))), pages
    )
    is_scan = rng.random(number) < 0.3
    bytes_per_page = np.exp(np.where(is_scan, rng.normal(11.5, 0.6, number), rng.normal(9.8, 0.9, number)))
    sizes = (pages * bytes_per_page).astype(int) + 5000
    refs = [DocumentRef(f"s3://b/{i}.pdf", "", int(size), f"{i}.pdf") for i, size in enumerate(sizes)]
    return refs, {ref.uri: int(num) for ref, num in zip(refs, pages, strict=True)}


def weights_of(sample: Sample, seed: int = 0, num_replicates: int = 400) -> Numbers:
    return page_weights(sample, num_replicates, np.random.default_rng(seed))


def test_the_truth_is_within_the_interval_for_most_draws_of_a_heavy_tailed_corpus() -> None:
    refs, pages = heavy_tailed_corpus()
    truth = sum(pages.values())
    assert sum(sorted(pages.values())[-75:]) > truth / 2, "a twentieth holds half"
    hits, errors = 0, []
    for seed in range(NUM_SEEDS):
        population = Population(150, seed)
        for ref in refs:
            population.add(ref)
        documents = [
            SampledDocument(drawn.stratum, pages[drawn.unit.uri], (SampledPage(INKED),))
            for drawn in population.draw()
        ]
        strata = {name: StratumSize(stratum.num_documents) for name, stratum in population.strata.items()}
        totals = weights_of(Sample(strata, documents), seed).sum(axis=1)
        low, high = np.quantile(totals[1:], [0.05, 0.95])
        hits += low <= truth <= high
        errors.append(totals[0] / truth - 1)
    assert hits >= 80
    assert abs(np.mean(errors)) < 0.05, "no bias to speak of"
    assert np.std(errors) < 0.2


def test_what_is_seen_whole_is_certain() -> None:
    documents = [SampledDocument("a", 2, (SampledPage(INKED), SampledPage(BLANK))) for _ in range(3)]
    weights = weights_of(Sample({"a": StratumSize(3)}, documents))
    assert np.all(weights == 1)


def test_documents_may_come_in_any_order() -> None:
    """They come as they were drawn, and strata as they were listed."""
    few = [SampledDocument("few", 100, (SampledPage(BLANK),)) for _ in range(20)]
    many = [SampledDocument("many", 1, (SampledPage(INKED),)) for _ in range(20)]
    strata = {"many": StratumSize(1000), "few": StratumSize(40)}
    for documents in (few + many, many + few):
        sample = Sample(strata, documents)
        weights = weights_of(sample)[0]
        inked = [page.facts is INKED for page in sample.pages]
        assert weights @ np.array(inked, dtype=float) == pytest.approx(1000)
        assert weights.sum() == pytest.approx(1000 + 40 * 100)


def test_known_pages_are_certain_and_only_what_they_are_like_is_estimated() -> None:
    documents = [SampledDocument("a", n, (SampledPage(INKED), SampledPage(BLANK))) for n in (2, 5, 9)]
    weights = weights_of(Sample({"a": StratumSize(50, num_pages=400)}, documents))
    assert weights.sum(axis=1) == pytest.approx(np.full(len(weights), 400))
    assert np.std(weights[1:, ::2].sum(axis=1)) > 1


def test_pages_seen_of_every_document_tell_the_share_of_blank_ones() -> None:
    """All documents are looked at, and the draw of pages within them is all that is uncertain."""
    rng = np.random.default_rng(3)
    hits = 0
    truth = [rng.random(40) < share for share in rng.uniform(0, 1, 12)]
    for seed in range(NUM_SEEDS):
        draw = np.random.default_rng(seed)
        seen = [blank[draw.choice(40, 6, replace=False)] for blank in truth]
        documents = [
            SampledDocument("a", 40, tuple(SampledPage(BLANK if is_blank else INKED) for is_blank in pages))
            for pages in seen
        ]
        sample = Sample({"a": StratumSize(12)}, documents)
        is_blank = [page.facts is BLANK for page in sample.pages]
        low, high = np.quantile((weights_of(sample, seed) @ np.array(is_blank, dtype=float))[1:], [0.05, 0.95])
        hits += low <= sum(map(sum, truth)) <= high
    assert 80 <= hits < 100


@pytest.mark.parametrize("documents", [[], [SampledDocument("a", 0)] * 4], ids=["no documents", "no pages"])
def test_nothing_to_weigh(documents: list[SampledDocument]) -> None:
    sample = Sample({"a": StratumSize(9)} if documents else {}, documents)
    assert weights_of(sample).shape == (401, 0)
