"""The Dockerfile, by hadolint: every rule that it has, but those that a comment in the file lays aside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import BOUND_S

_ROOT = Path(__file__).resolve().parents[2]
_LINTER = Path(sys.executable).parent / "hadolint"


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_LINTER, "--no-color", path], capture_output=True, text=True, timeout=BOUND_S)


def test_nothing_is_said_of_it() -> None:
    done = lint(_ROOT / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("FROM debian:latest\n", "DL3007"),
        ("FROM debian:12.1\nRUN apt-get install curl\n", "DL3008"),
        ("FROM debian:12.1\nUSER root\n", "DL3002"),
    ],
)
def test_what_is_wrong_is_found(text: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    assert rule in lint(tmp_path / "Dockerfile").stdout
