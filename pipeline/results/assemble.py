"""Pages → documents: one text with exact page ends, counts, languages; and the Markdown file.

A page's text can always be cut out of its document's text again: `page_text(text, page_ends, i)` gives page
i's Markdown to the character. Offsets count code points, as Python and DuckDB's `substring` do.

Does not know where pages come from or where documents go.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import py3langid

from quire.records import DocumentText, Outcome, PageText

PAGE_SEPARATOR = "\n\n"

_FEWEST_LETTERS = 40
"""A page with fewer letters has no say in its document's languages: too little to tell them apart."""

_classifying = threading.Lock()
"""Of several threads that are the first at the same time each would load the model: half a second of CPU or more."""


def assemble(pages: Sequence[PageText]) -> DocumentText:
    """Put a document's pages together. `pages` must be all of them, in order."""
    if [page.page_index for page in pages] != list(range(len(pages))):
        raise ValueError("pages are missing, doubled or out of order")
    counts = Counter(page.outcome for page in pages)
    num_tokens = sum(page.num_output_tokens for page in pages)
    return DocumentText(
        text=PAGE_SEPARATOR.join(page.markdown for page in pages),
        page_ends=_page_ends(pages),
        counts={outcome: counts[outcome] for outcome in Outcome},
        languages=_languages(page.markdown for page in pages),
        num_tokens=num_tokens or None,
        markdown_file=_markdown_file(pages),
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


def page_text(text: str, page_ends: Sequence[int], page_index: int) -> str:
    """Page `page_index` (0-based) of an assembled text."""
    start = page_ends[page_index - 1] + len(PAGE_SEPARATOR) if page_index else 0
    return text[start : page_ends[page_index]]


def _page_ends(pages: Sequence[PageText]) -> tuple[int, ...]:
    ends: list[int] = []
    end = -len(PAGE_SEPARATOR)
    for page in pages:
        end += len(PAGE_SEPARATOR) + len(page.markdown)
        ends.append(end)
    return tuple(ends)


def _markdown_file(pages: Sequence[PageText]) -> str:
    """The text for a person: blank pages leave no gap, a failed page leaves a comment where it was missing."""
    parts = [_page_markdown(page) for page in pages]
    return PAGE_SEPARATOR.join(part for part in parts if part) + "\n"


def _page_markdown(page: PageText) -> str:
    if page.outcome is Outcome.FAILED:
        return f"<!-- page {page.page_index + 1} failed: {page.failure_kind} -->"
    return page.markdown


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
