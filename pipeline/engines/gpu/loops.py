"""Watches a page's text as it is written, and says when it is looping, long before the token limit.

`parse` defines a loop for finished texts: one unit over and over. Here the page is not finished and may still go on
without a loop, so the repetition must be longer: as long as in a page that ended by itself. Rows of dots and empty
table cells, zeros and dashes repeat for longer without being a loop, and are allowed three times as much.

It does not know engines: the caller stops the request.
"""

from __future__ import annotations

import re

from quire.parse import FEWEST_REPEATS, LONG_LOOP, LONGEST_UNIT

FILLER_LOOP = 3 * LONG_LOOP
"""Characters of repetition without a word after which a page loops: 600 empty cells."""

CHECK_EVERY = 100
"""Characters between two checks: each costs some microseconds, whatever the length of the text."""

_WHOLE = re.compile(r"[<&\\].*[<&\\]", re.DOTALL)
"""A stretch without the halves of tags, entities and TeX's commands at its ends, where it has any."""

_NO_WORDS = re.compile(r"<[^<>]{1,40}>|&\w{1,10};|\\[a-z]{1,10}")
_WORD = re.compile(r"[^\W\d_]{3}")


class LoopWatch:
    """One page's text so far, as much of it as matters."""

    def __init__(self) -> None:
        self._tail = ""
        self._new: list[str] = []
        self._num_new = 0
        self.is_looping = False

    def feed(self, text: str) -> bool:
        """Take the next piece of the page's text; returns whether the page loops. Once true, it stays true."""
        self._new.append(text)
        self._num_new += len(text)
        if self._num_new >= CHECK_EVERY and not self.is_looping:
            self._tail = "".join((self._tail, *self._new))[-FILLER_LOOP:]
            self._new, self._num_new = [], 0
            self.is_looping = is_looping(self._tail)
        return self.is_looping


def is_looping(tail: str) -> bool:
    """Whether a text that ends with `tail` is clearly looping. Looks at the last `FILLER_LOOP` characters."""
    period = _period(tail[-LONG_LOOP:]) if len(tail) >= LONG_LOOP else 0
    if not period:
        return False
    whole = _WHOLE.search(tail[-LONG_LOOP:])
    has_words = _WORD.search(_NO_WORDS.sub(" ", whole[0] if whole else tail[-LONG_LOOP:])) is not None
    length = max(LONG_LOOP, FEWEST_REPEATS * period) if has_words else FILLER_LOOP
    stretch = tail[-length:]
    return len(stretch) == length and stretch[period:] == stretch[:-period]


def _period(text: str) -> int:
    """Length of the shortest unit, at most `LONGEST_UNIT`, that the whole text repeats; 0 if there is none.

    A text with a period p begins again at p. The library's search is linear and runs in C.
    """
    period = text.find(text[:-LONGEST_UNIT], 1)
    return period if period > 0 and text[period:] == text[:-period] else 0
