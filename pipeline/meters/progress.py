"""How a run is going, for a person: a bar on a terminal, a plain line now and then elsewhere.

Shows what the run waits for, how fast pages are read, outcomes and the time left. Counts nothing itself: it is given
absolute numbers. Draws once a second in its own thread, so that the clock goes on whatever the run does.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from quire.quantities import counted, duration, rate

_ORDER = ("ocr", "text_layer", "blank", "failed")
_QUICK = ("blank", "failed")  # come many times as fast as pages that are read, and tell nothing about their rate
_DRAW_EVERY_S = 1.0
_WINDOW_S = 300.0  # over which the rate is taken
_FEWEST, _SHORTEST_S = 5, 3.0  # needed for a rate
_AS_IF_READ = 20  # pages added to the share: blank ones come first, and would bias it


class Pace:
    """The rate of pages that are read (not blank or failed), over the last minutes. Times are in seconds, of any
    clock."""

    def __init__(self, now_s: float) -> None:
        self._seen = deque([(now_s, 0)])  # (time, number so far)

    def begin(self, now_s: float) -> None:
        """Begin to measure now: the time before was not work."""
        self._seen = deque([(now_s, self._seen[-1][1])])

    def see(self, now_s: float, number: int) -> None:
        if number == self._seen[-1][1]:
            return
        if len(self._seen) > 1 and now_s - self._seen[-2][0] < _DRAW_EVERY_S:  # hundreds may come in that time
            self._seen.pop()
        self._seen.append((now_s, number))
        while self._seen[0][0] < now_s - _WINDOW_S and number - self._seen[1][1] >= _FEWEST:
            self._seen.popleft()

    def seconds_each(self, now_s: float) -> float | None:
        """None while there are too few for a rate."""
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        number = last - first
        if number < _FEWEST or now_s - first_s < _SHORTEST_S:
            return None
        # The next one may be late: the time since the last one can only raise the mean.
        return max((last_s - first_s) / number, (now_s - first_s) / (number + 1))


class Progress:
    """Things done, of `total` planned ones or of an unknown number (None). Use as a context manager."""

    def __init__(
        self,
        label: str,
        noun: str = "page",
        total: int | None = None,
        num_done: int = 0,
        file: TextIO | None = None,
    ) -> None:
        """`num_done` before this run."""
        self._label, self._noun, self._total, self._num_before = label, noun, total, num_done
        self._file = file or sys.stderr
        self._counts: Mapping[str, int] = {}
        self._waits_for = ""
        self._started_s = self._last_line_s = time.monotonic()
        self._pace = Pace(self._started_s)
        self._bar = tqdm(
            total=total,
            initial=num_done,
            desc=label,
            file=self._file,
            disable=not self._file.isatty(),
            dynamic_ncols=True,
            bar_format=_bar_format(noun, total),
        )
        self._is_over = threading.Event()
        self._drawing = threading.Thread(target=self._draw_again_and_again, name="progress", daemon=True)
        self._others = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._others.enter_context(logging_redirect_tqdm())
            above = self._others.enter_context(contextlib.closing(_AboveTheBar(self._file)))
            self._others.enter_context(contextlib.redirect_stderr(above))
            if sys.stdout.isatty():
                self._others.enter_context(contextlib.redirect_stdout(above))
        self._drawing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._drawing.join()
        self._draw_bar(time.monotonic())
        self._others.close()
        self._bar.close()

    def wait_for(self, what: str) -> None:
        """Say what the first one waits for; the rate counts from the last change of that."""
        if not self._counts and what != self._waits_for:
            self._waits_for = what
            self._pace.begin(time.monotonic())

    def show(self, counts: Mapping[str, int]) -> None:
        """`counts`: this run's numbers so far, by outcome (or whatever the label counts)."""
        self._counts = dict(counts)
        self._pace.see(time.monotonic(), _num_read(self._counts))

    def line(self, now_s: float) -> str:
        """All of it on a line of its own, at this time of `time.monotonic`."""
        num_done = self._num_before + sum(self._counts.values())
        how_many = counted(num_done, self._noun)
        if self._total is not None:
            how_many = f"{num_done:,} of {counted(self._total, self._noun)}"
        by_outcome = f" ({words})" if (words := self._outcomes()) else ""
        parts = (f"{how_many}{by_outcome}", f"after {duration(now_s - self._started_s)}", self._speed(now_s))
        return f"{self._label}: {', '.join(filter(None, parts))}"

    def _draw_again_and_again(self) -> None:
        with contextlib.suppress(OSError):  # the output is closed; the run goes on
            while not self._is_over.wait(_DRAW_EVERY_S):
                now_s = time.monotonic()
                self._draw_bar(now_s)
                if self._bar.disable and now_s - self._last_line_s > _seconds_between_lines(
                    now_s - self._started_s
                ):
                    self._last_line_s = now_s
                    print(self.line(now_s), file=self._file, flush=True)

    def _draw_bar(self, now_s: float) -> None:
        self._bar.n = self._num_before + sum(self._counts.values())
        if self._total is None:
            self._bar.desc = f"{self._label}: {counted(self._bar.n, self._noun)}"
        self._bar.set_postfix_str("; ".join(filter(None, (self._speed(now_s), self._outcomes()))))

    def _speed(self, now_s: float) -> str:
        """How fast, and how long it will take; or what is waited for."""
        if not self._counts:
            return self._waits_for or "waiting for the first"
        seconds_each = self._pace.seconds_each(now_s)
        if self._total is None:
            return rate(seconds_each, self._noun) if seconds_each else ""
        num_left = self._total - self._num_before - sum(self._counts.values())
        if num_left <= 0:
            return f"finishing the last {self._noun}s"
        if not seconds_each:
            return f"? left, until more {self._noun}s are read"
        return (
            f"{rate(seconds_each, self._noun)}, about {duration(self._num_to_read(num_left) * seconds_each)} left"
        )

    def _num_to_read(self, num_left: int) -> float:
        """How many of those left will be read: the same share as of those that came."""
        share = (_num_read(self._counts) + _AS_IF_READ) / (sum(self._counts.values()) + _AS_IF_READ)
        return num_left * share

    def _outcomes(self) -> str:
        return ", ".join(f"{self._counts[name]} {name}" for name in _sorted(self._counts))


class _AboveTheBar(io.TextIOBase):
    """For what others, such as Ray, write to the terminal meanwhile: whole lines, with the bar below them."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        if lines:
            tqdm.write("\n".join(lines), file=self._terminal)
        return len(text)

    def close(self) -> None:
        if self._line:
            self.write("\n")
        super().close()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.fileno()


def _bar_format(noun: str, total: int | None) -> str:
    if total is None:
        return "{desc} [{elapsed}{postfix}]"
    return f"{{desc}}: {{percentage:3.0f}}%|{{bar}}| {{n_fmt}}/{{total_fmt}} {noun}s [{{elapsed}}{{postfix}}]"


def _seconds_between_lines(elapsed_s: float) -> float:
    """Longer as the run goes on, so that the log of a long run stays readable."""
    return min(300.0, max(15.0, elapsed_s / 20))


def _num_read(counts: Mapping[str, int]) -> int:
    return sum(number for name, number in counts.items() if name not in _QUICK)


def _sorted(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
