"""From pages seen to figures: what counts, what is guessed, and what odd corpora come to."""

from dataclasses import replace

import pytest

from quire.estimate.figures import TOKENS_PER_CHARACTER, TOKENS_WITHOUT_LAYER, Figure, Guess, Pace, reckon
from quire.estimate.sample import Sample, SampledDocument, SampledPage, StratumSize
from quire.records import PageFacts

TEXT = SampledPage(PageFacts(595, 842, 0.05, num_chars=2000), 903, (1024,))
SCAN = SampledPage(PageFacts(595, 842, 0.05, image_cover=1.0), 903, (1024,))
BLANK = SampledPage(PageFacts(595, 842, 0.0), 903, (1024,))
BROKEN = SampledPage(None)
PACE = Pace(lambda page: 1.0, lambda page, tokens: tokens / 1000, Guess(1.0, 1.0), "for a test")


def figures_of(*pages: SampledPage, num_documents: int = 10, **options: bool) -> dict[str, Figure]:
    documents = [SampledDocument("a", 1, (page,)) for page in pages]
    return reckon(Sample({"a": StratumSize(num_documents)}, documents), PACE, **options)


def test_a_page_needs_the_model_if_it_has_ink_and_can_be_rendered() -> None:
    figures = figures_of(TEXT, SCAN, BLANK, BROKEN, num_documents=4)
    assert figures["pages"] == Figure(4, 4, 4)
    assert figures["read_pages"] == Figure(2, 2, 2)
    assert figures["image_tokens"] == Figure(2 * 903, 2 * 903, 2 * 903)


def test_tokens_follow_the_text_layer_where_it_can_be_believed() -> None:
    text, scan = figures_of(TEXT, num_documents=1), figures_of(SCAN, num_documents=1)
    assert text["output_tokens"].value == pytest.approx(2000 * TOKENS_PER_CHARACTER.middle)
    assert scan["output_tokens"].value == pytest.approx(TOKENS_WITHOUT_LAYER.middle)
    for figure, low, high in ((text, 2000 * 0.28, 2000 * 0.45), (scan, 600, 1900)):
        tokens = figure["output_tokens"]
        assert low <= tokens.low < tokens.value < tokens.high <= high, "a guess spreads though all is seen"
    garbled = replace(TEXT, facts=replace(TEXT.facts, private_use_share=0.5))  # type: ignore[type-var]
    assert figures_of(garbled, num_documents=1)["output_tokens"] == scan["output_tokens"]
    assert figures_of(TEXT, writes_tags=True)["output_tokens"].value > figures_of(TEXT)["output_tokens"].value


def test_hours_follow_the_pace() -> None:
    figures = figures_of(SCAN, TEXT, BLANK, num_documents=3)
    seconds = 2 + (TOKENS_WITHOUT_LAYER.middle + 2000 * TOKENS_PER_CHARACTER.middle) / 1000
    assert figures["device_hours"].value == pytest.approx(seconds / 3600)
    assert figures["device_hours"].low < figures["device_hours"].value < figures["device_hours"].high
    assert "device_hours" not in reckon(Sample({}, []), None)


def test_kept_latents_are_counted() -> None:
    more = figures_of(SCAN, keeps_latents=True)["storage_bytes"].value - figures_of(SCAN)["storage_bytes"].value
    assert more == pytest.approx(10 * 903 * 2560)


@pytest.mark.parametrize(
    ("pages", "num_pages"), [((), 0), ((BLANK,) * 5, 10), ((BROKEN,) * 5, 10)], ids=["none", "blank", "broken"]
)
def test_corpora_with_nothing_to_read(pages: tuple[SampledPage, ...], num_pages: int) -> None:
    figures = figures_of(*pages)
    assert figures["pages"].value == num_pages
    for name in ("read_pages", "read_share", "output_tokens", "tokens_per_page", "device_hours"):
        assert figures[name] == Figure(0, 0, 0)


def test_encrypted_documents_count_as_documents_without_pages() -> None:
    documents = [SampledDocument("a", 0), SampledDocument("a", 0), SampledDocument("a", 3, (TEXT, TEXT))]
    figures = reckon(Sample({"a": StratumSize(30)}, documents), PACE)
    assert figures["pages"].value == pytest.approx(30)
    assert figures["pages"].low < 30 < figures["pages"].high
