"""The property that matters: every page can be cut out of its document's text again, to the character."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.config.page_choice import canonical, chosen, in_words, ranges_of
from quire.config.sections import TextSettings
from quire.errors import ConfigError
from quire.records import DocumentText, Outcome, PageText
from quire.results import assemble as assembling
from quire.results.assemble import page_text

AS_BY_DEFAULT = TextSettings()

page_texts = st.lists(st.tuples(st.sampled_from(list(Outcome)), st.text(max_size=80)), max_size=8)


def assemble(pages: list[PageText], text: TextSettings = AS_BY_DEFAULT) -> DocumentText:
    """A document that was read whole."""
    return assembling.assemble(pages, range(len(pages)), len(pages), text)


@given(page_texts, st.text(max_size=4), st.booleans(), st.integers(0, 3))
def test_page_ends_slice_the_text_into_its_pages(
    pages: list[tuple[Outcome, str]], separator: str, page_marks: bool, num_left_out: int
) -> None:
    """Whatever stands between pages, and whichever were read."""
    planned = [index * (1 + num_left_out) for index in range(len(pages))]
    of_pages = [PageText(i, outcome, text, 3) for i, (outcome, text) in zip(planned, pages, strict=True)]
    settings = TextSettings(page_separator=separator, page_marks=page_marks)
    document = assembling.assemble(of_pages, planned, len(pages) + num_left_out, settings)
    texts = [page_text(document.text, document.page_ends, i, separator) for i in range(len(pages))]
    assert texts == [text for _, text in pages]
    assert document.page_indices == tuple(planned) and len(document.page_ends) == len(pages)
    assert list(document.page_ends) == sorted(document.page_ends)
    assert sum(document.counts.values()) == len(pages)
    assert (document.page_ends[-1] if pages else 0) == len(document.text)
    assert document.markdown_file.startswith("<!-- pages ") or not num_left_out or page_marks


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


READ = [
    PageText(0, Outcome.OCR, "One", 10),
    PageText(1, Outcome.BLANK, "", 0),
    PageText(2, Outcome.FAILED, "", 0, "render_timeout"),
    PageText(6, Outcome.OCR, "Seven", 10),
]


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ({}, "One\n\n<!-- page 3 failed: render_timeout -->\n\nSeven\n"),
        (
            {"page_separator": "\n\n---\n\n"},
            "One\n\n---\n\n<!-- page 3 failed: render_timeout -->\n\n---\n\nSeven\n",
        ),
        (
            {"page_marks": True},
            "<!-- page 1 -->\n\nOne\n\n<!-- page 2 -->\n\n<!-- page 3 failed: render_timeout -->\n\n"
            "<!-- page 7 -->\n\nSeven\n",
        ),
    ],
)
def test_a_markdown_file_is_marked_as_one_wants_and_says_that_it_is_partial(text: Any, file: str) -> None:
    document = assembling.assemble(READ, [0, 1, 2, 6], 9, TextSettings(**text))
    assert document.markdown_file == f"<!-- pages 1-3,7 of 9 -->\n\n{file}"
    assert "<!--" not in document.text


PAGES = st.lists(st.integers(0, 30), min_size=1).map(lambda indices: sorted(set(indices)))


@given(PAGES, st.integers(0, 40))
def test_pages_are_chosen_as_they_are_written(indices: list[int], num_pages: int) -> None:
    written = in_words(ranges_of(indices))
    assert canonical(written) == canonical(",".join(str(index + 1) for index in reversed(indices))) == written
    found = [index for start, stop in chosen(written, num_pages) for index in range(start, stop)]
    assert found == [index for index in indices if index < num_pages]


@pytest.mark.parametrize(
    ("pages", "wanted", "of_ten"),
    [
        ("", "", ((0, 10),)),
        ("1-", "", ((0, 10),)),
        (" 1 - 5 , 9 ", "1-5,9", ((0, 5), (8, 9))),
        ("3-", "3-", ((2, 10),)),
        ("4,1-3,5-5", "1-5", ((0, 5),)),
        ("9-12", "9-12", ((8, 10),)),
        ("11-", "11-", ()),
    ],
)
def test_ranges_of_pages(pages: str, wanted: str, of_ten: tuple[tuple[int, int], ...]) -> None:
    assert (canonical(pages), chosen(pages, 10)) == (wanted, of_ten)


@pytest.mark.parametrize("pages", ["0", "0-3", "5-3", "-3", "1,,2", "a", "1.5", "1-2-3", "٣", "1" * 12])
def test_what_names_no_pages_is_refused(pages: str) -> None:
    with pytest.raises(ConfigError, match="write 1-5,9, or 3-"):
        canonical(pages)


def test_languages_are_shares_of_letters() -> None:
    english = "The printer set the type by hand and pulled the first proof of the morning. " * 3
    german = "Der Drucker setzte die Lettern von Hand und zog den ersten Abzug des Morgens. "
    document = assemble([PageText(0, Outcome.OCR, english, 0), PageText(1, Outcome.OCR, german, 0)])
    assert [language for language, _ in document.languages] == ["en", "de"]
    assert sum(share for _, share in document.languages) == pytest.approx(1.0)
    assert document.num_tokens is None, "an engine that counts no tokens"


def test_numbers_alone_have_no_language() -> None:
    assert assemble([PageText(0, Outcome.OCR, "12 345 " * 100, 0)]).languages == ()
