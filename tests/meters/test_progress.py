"""What a person sees of a run, on a terminal and in a log."""

from __future__ import annotations

import io
import logging
import re
import sys
import time

import pytest

from quire.meters.progress import Pace, Progress
from tests.waiting import wait_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(terminal: Terminal) -> list[str]:
    """All that stood on the terminal's last line, one after the other."""
    return re.split(r"[\r\n]", terminal.getvalue())


def last_line(progress: Progress, seconds: float) -> str:
    return progress.line(time.monotonic() + seconds)


def test_a_bar_on_a_terminal() -> None:
    terminal = Terminal()
    with Progress("converting", "page", 100, 40, terminal) as bar:
        bar.show({"failed": 1, "ocr": 9})
    last = drawn(terminal)[-2]
    assert "converting:  50%" in last and "50/100 pages" in last
    assert "9 ocr, 1 failed" in last


def test_the_clock_runs_before_the_first_page_and_it_is_said_what_is_waited_for() -> None:
    terminal = Terminal()
    with Progress("converting", "page", 100, file=terminal) as bar:
        bar.wait_for("starting the engine")
        wait_for("a bar drawn by time alone", lambda: "[00:01, starting the engine]" in terminal.getvalue())
    assert "()" not in terminal.getvalue() and "?" not in terminal.getvalue()


def test_what_others_write_does_not_tear_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    logger = logging.getLogger("a library")
    handler = logging.StreamHandler()
    logging.root.addHandler(handler)
    try:
        with Progress("converting", "page", 100) as bar:
            bar.show({"ocr": 9})
            wait_for("the bar", lambda: "9/100" in terminal.getvalue())
            logger.warning("of a logger")
            print("as Ray", "does", file=sys.stderr)
            sys.stderr.write("a line in pieces")
    finally:
        logging.root.removeHandler(handler)
    assert sys.stderr is terminal
    lines = drawn(terminal)
    assert {"of a logger", "as Ray does", "a line in pieces"} <= set(lines), lines


def test_a_line_now_and_then_elsewhere() -> None:
    log = io.StringIO()
    with Progress("converting", "page", 100, 40, log) as progress:
        progress.wait_for("starting the engine")
        assert last_line(progress, 30) == "converting: 40 of 100 pages, after 30 s, starting the engine"
        progress.show({"ocr": 2, "blank": 1})
        assert last_line(progress, 40).endswith("(2 ocr, 1 blank), after 40 s, ? left, until more pages are read")
        progress.show({"ocr": 60})
        assert last_line(progress, 7200).endswith("(60 ocr), after 2.0 h, finishing the last pages")
    assert log.getvalue() == ""


def test_lines_are_printed_by_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr("quire.meters.progress._seconds_between_lines", lambda elapsed_s: 0.0)
    with Progress("planning", "document", file=log) as progress:
        progress.wait_for("listing the sources")
        wait_for("a line", lambda: "0 documents, after 1 s, listing the sources\n" in log.getvalue())


def test_documents_are_no_pages_and_one_is_no_documents() -> None:
    with Progress("planning", "document", file=io.StringIO()) as progress:
        progress.show({"ok": 1})
        assert last_line(progress, 0) == "planning: 1 document (1 ok), after 0 s"
        progress.show({"ok": 300, "encrypted": 12})
        line = last_line(progress, 9)
        assert re.fullmatch(
            r"planning: 312 documents \(12 encrypted, 300 ok\), after 9 s, 3[345] documents/s", line
        )


def test_blank_and_failed_pages_are_no_speed() -> None:
    """They come at once, and made ten minutes of a quarter of an hour."""
    with Progress("converting", "page", 60, file=io.StringIO()) as progress:
        progress.show({"failed": 10, "blank": 10})
        assert last_line(progress, 10).endswith("? left, until more pages are read")
        progress.show({"failed": 10, "blank": 10, "ocr": 10})
        # 110 s for ten pages, and those left are read as ten of thirty were, with twenty more for what is not known yet
        assert last_line(progress, 110).endswith("10 s/page, about 3 min left")


@pytest.mark.parametrize(
    ("arrivals_s", "now_s", "seconds_each"),
    [
        ([], 100, None),
        ([23, 46, 69, 92], 100, None),  # too few
        ([0.1, 0.2, 0.3, 0.4, 0.5], 1, None),  # too soon
        ([23, 46, 69, 92, 115], 116, 23),
        ([23, 46, 69, 92, 115], 215, 215 / 6),  # the sixth is late
        ([1] * 100 + [400 + second for second in range(300)], 699, 1),  # a fast beginning is forgotten
        ([600 + second for second in range(301)], 900, 1),  # and so is a slow one
    ],
)
def test_the_pace_is_that_of_the_last_minutes(
    arrivals_s: list[float], now_s: float, seconds_each: float | None
) -> None:
    pace = Pace(0.0)
    for number, arrival_s in enumerate(arrivals_s, start=1):
        pace.see(arrival_s, number)
    assert pace.seconds_each(now_s) == (seconds_each and pytest.approx(seconds_each, rel=0.02))
