"""The property that matters: every page can be cut out of its document's text again, to the character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.records import Outcome, PageText
from quire.results.assemble import assemble, page_text

page_texts = st.lists(st.tuples(st.sampled_from(list(Outcome)), st.text(max_size=80)), max_size=8)


@given(page_texts)
def test_page_ends_slice_the_text_into_its_pages(pages: list[tuple[Outcome, str]]) -> None:
    document = assemble([PageText(i, outcome, text, 3) for i, (outcome, text) in enumerate(pages)])
    assert len(document.page_ends) == len(pages)
    assert [page_text(document.text, document.page_ends, i) for i in range(len(pages))] == [t for _, t in pages]
    assert list(document.page_ends) == sorted(document.page_ends)
    assert sum(document.counts.values()) == len(pages)
    assert (document.page_ends[-1] if pages else 0) == len(document.text)


@pytest.mark.parametrize("indices", [(0, 2), (0, 0), (1, 0), (1,)])
def test_missing_doubled_and_shuffled_pages_are_refused(indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="missing, doubled or out of order"):
        assemble([PageText(i, Outcome.OCR, "x", 0) for i in indices])


def test_a_failed_page_leaves_a_comment_in_the_file_and_nothing_in_the_text() -> None:
    document = assemble(
        [
            PageText(0, Outcome.OCR, "One", 10),
            PageText(1, Outcome.BLANK, "", 0),
            PageText(2, Outcome.FAILED, "", 0, "render_timeout"),
            PageText(3, Outcome.OCR, "Four", 10),
        ]
    )
    assert document.text == "One\n\n\n\n\n\nFour"
    assert document.markdown_file == "One\n\n<!-- page 3 failed: render_timeout -->\n\nFour\n"
    assert document.num_tokens == 20
    assert document.counts == {Outcome.OCR: 2, Outcome.TEXT_LAYER: 0, Outcome.BLANK: 1, Outcome.FAILED: 1}


def test_languages_are_shares_of_letters() -> None:
    english = "The printer set the type by hand and pulled the first proof of the morning. " * 3
    german = "Der Drucker setzte die Lettern von Hand und zog den ersten Abzug des Morgens. "
    document = assemble([PageText(0, Outcome.OCR, english, 0), PageText(1, Outcome.OCR, german, 0)])
    assert [language for language, _ in document.languages] == ["en", "de"]
    assert sum(share for _, share in document.languages) == pytest.approx(1.0)
    assert document.num_tokens is None, "an engine that counts no tokens"


def test_numbers_alone_have_no_language() -> None:
    assert assemble([PageText(0, Outcome.OCR, "12 345 " * 100, 0)]).languages == ()
