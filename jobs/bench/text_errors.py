"""How far a text is from a reference: edit distances over normalised text. Knows no engine and no file."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from rapidfuzz.distance import Levenshtein

_TABLE_RULE = re.compile(r"^[\s|:-]*-[\s|:-]*$", re.M)
_LINE_MARKS = re.compile(r"^\s*(?:#{1,6}\s+|[-*+]\s+|>\s+)", re.M)
_INLINE_MARKS = re.compile(r"[|*`]|\\(?=[|*\\])")
_BROKEN_WORD = re.compile(r"(?<=[^\W\d_])-[ \t]*\n\s*(?=[a-z])")
_SAME = str.maketrans("‘’‚“”„–—−‐‑", "'''\"\"\"-----")


def normalize(text: str) -> str:
    """Compatibility forms, plain quotes and dashes, no Markdown marks, no broken words, single spaces."""
    text = unicodedata.normalize("NFKC", text).translate(_SAME)
    text = _LINE_MARKS.sub("", _TABLE_RULE.sub("", _BROKEN_WORD.sub("", text)))
    return " ".join(_INLINE_MARKS.sub(" ", text).split())


def character_error(text: str, reference: str) -> float:
    """Edit distance over the characters of the reference; above 1 where there is far more text."""
    expected = normalize(reference)
    return Levenshtein.distance(normalize(text), expected) / max(1, len(expected))


def word_error(text: str, reference: str) -> float:
    """Edit distance in words over the words of the reference."""
    expected = normalize(reference).split()
    return Levenshtein.distance(normalize(text).split(), expected) / max(1, len(expected))


def word_recall(text: str, reference: str) -> float:
    """Share of the reference's words that the text has, wherever they stand."""
    expected = Counter(normalize(reference).split())
    found = Counter(normalize(text).split())
    return sum((expected & found).values()) / max(1, sum(expected.values()))
