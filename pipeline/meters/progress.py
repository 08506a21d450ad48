"""How a run is going, for a person: a bar on a terminal, a plain line now and then elsewhere.

Shows pages a second, outcomes and the time left. Does not count anything itself: it is told absolute numbers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

_ORDER = ("ocr", "text_layer", "blank", "failed")
_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Pages done of pages planned. Use as a context manager."""

    def __init__(self, label: str, num_pages: int | None, num_done: int = 0, file: TextIO | None = None) -> None:
        self._file = file or sys.stderr
        self._label = label
        self._num_before = num_done
        self._is_terminal = self._file.isatty()
        self._bar = tqdm(
            total=num_pages,
            initial=num_done,
            desc=label,
            unit="page",
            file=self._file,
            disable=not self._is_terminal,
            dynamic_ncols=True,
        )
        self._num_pages = num_pages
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def show(self, counts: Mapping[str, int]) -> None:
        """`counts`: this run's numbers so far, by outcome (or whatever the label counts)."""
        num_new = sum(counts.values())
        words = ", ".join(f"{counts[name]} {name}" for name in _sorted(counts))
        if self._is_terminal:
            self._bar.set_postfix_str(words, refresh=False)
            self._bar.update(self._num_before + num_new - self._bar.n)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(self._line(num_new, words), file=self._file, flush=True)

    def _line(self, num_new: int, words: str) -> str:
        rate = num_new / (time.monotonic() - self._started)
        num_done = self._num_before + num_new
        if self._num_pages is None:
            return f"{self._label}: {num_done} ({words}), {rate:.1f}/s"
        left = tqdm.format_interval((self._num_pages - num_done) / rate) if rate else "?"
        return f"{self._label}: {num_done} of {self._num_pages} pages ({words}), {rate:.1f} pages/s, {left} left"


def _sorted(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
