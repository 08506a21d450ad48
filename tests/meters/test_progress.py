"""What a person sees of a run, on a terminal and in a log."""

import io

import pytest

from quire.meters import progress
from quire.meters.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal() -> None:
    terminal = Terminal()
    with Progress("converting", 100, 40, terminal) as bar:
        bar.show({"failed": 1, "ocr": 9})
    last = terminal.getvalue().split("\r")[-1]
    assert "converting:  50%" in last and "50/100" in last
    assert "9 ocr, 1 failed" in last


def test_plain_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    with Progress("converting", 100, 40, log) as bar:
        bar.show({"ocr": 1})  # too soon after the start for a line
        bar.show({"ocr": 18, "blank": 2})
    assert log.getvalue() == "converting: 60 of 100 pages (18 ocr, 2 blank), 1.0 pages/s, 00:40 left\n"


def test_an_unknown_total(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    with Progress("planning", None, file=log) as bar:
        bar.show({"ok": 8, "empty": 2})
    assert log.getvalue() == "planning: 10 (2 empty, 8 ok), 0.5/s\n"
