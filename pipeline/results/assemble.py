"""Pages → documents: one text with exact page ends, counts, languages; and the Markdown file.

A page's text can always be cut out of its document's text again, exactly (`page_text`). Offsets count code points, as
Python and DuckDB's `substring` do.

Does not know where pages come from or where documents go.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import py3langid

from quire.config.page_choice import in_words, ranges_of
from quire.config.sections import TextSettings
from quire.records import DocumentText, Outcome, PageText

_FEWEST_LETTERS = 40
"""A page with fewer letters does not count for its document's languages: too few to identify one."""

_classifying = threading.Lock()
"""Without this lock, several threads that start at once would each load the model: half a second of CPU or more."""


def assemble(
    pages: Sequence[PageText], planned: Sequence[int], num_pages: int, text: TextSettings
) -> DocumentText:
    """Assemble a document of `num_pages`. `pages` must be all those that were `planned`, in order."""
    if [page.page_index for page in pages] != list(planned):
        raise ValueError("pages are missing, doubled or out of order")
    counts = Counter(page.outcome for page in pages)
    num_tokens = sum(page.num_output_tokens for page in pages)
    return DocumentText(
        text=text.page_separator.join(page.markdown for page in pages),
        page_ends=_page_ends(pages, len(text.page_separator)),
        page_indices=tuple(planned),
        counts={outcome: counts[outcome] for outcome in Outcome},
        languages=_languages(page.markdown for page in pages),
        num_tokens=num_tokens or None,
        markdown_file=_markdown_file(pages, num_pages, text),
    )


def page_texts(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[PageText]]:
    """Of rows of `pages`, by doc_id."""
    texts: dict[str, list[PageText]] = {}
    for row in rows:
        page = PageText(
            page_index=row["page_index"],
            outcome=Outcome(row["outcome"]),
            markdown=row["markdown"],
            num_output_tokens=row["num_output_tokens"],
            failure_kind=row["failure"]["kind"] if row["failure"] else "",
        )
        texts.setdefault(row["doc_id"], []).append(page)
    return texts


def page_text(text: str, page_ends: Sequence[int], position: int, page_separator: str) -> str:
    """The page at this position (0-based, among those that were read) of an assembled text."""
    start = page_ends[position - 1] + len(page_separator) if position else 0
    return text[start : page_ends[position]]


def _page_ends(pages: Sequence[PageText], separator_length: int) -> tuple[int, ...]:
    ends: list[int] = []
    end = -separator_length
    for page in pages:
        end += separator_length + len(page.markdown)
        ends.append(end)
    return tuple(ends)


def _markdown_file(pages: Sequence[PageText], num_pages: int, text: TextSettings) -> str:
    """The text for a person: blank pages leave no gap, a failed page leaves a comment in its place, and a document of
    which only some pages were read says so."""
    parts = [_page_markdown(page, text.page_marks) for page in pages]
    whole = text.page_separator.join(part for part in parts if part) + "\n"
    if len(pages) == num_pages:
        return whole
    ranges = ranges_of(page.page_index for page in pages)
    return f"<!-- pages {in_words(ranges)} of {num_pages} -->\n\n{whole}"


def _page_markdown(page: PageText, is_marked: bool) -> str:
    number = page.page_index + 1
    if page.outcome is Outcome.FAILED:
        return f"<!-- page {number} failed: {page.failure_kind} -->"
    return f"<!-- page {number} -->\n\n{page.markdown}".rstrip("\n") if is_marked else page.markdown


def _languages(texts: Iterable[str]) -> tuple[tuple[str, float], ...]:
    letters: Counter[str] = Counter()
    for text in texts:
        num_letters = sum(map(str.isalpha, text))
        if num_letters >= _FEWEST_LETTERS:
            with _classifying:
                language, _ = py3langid.classify(text)
            letters[language] += num_letters
    total = letters.total()
    return tuple((language, number / total) for language, number in letters.most_common())
