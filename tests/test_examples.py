"""The examples do what they say, on a real document with the default engine."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from tests import documents
from tests.modules import ROOT


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/page.pdf").write_bytes(documents.pdf(["A page for the examples"]))
    (tmp_path / "in/broken.pdf").write_bytes(b"%PDF-1.7 nothing")

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    told = run("convert_folder.py", str(tmp_path / "in"), str(tmp_path / "out"))
    assert told.startswith("1 pages read, 0 blank, 0 failed\nnot read: ") and "broken.pdf: truncated" in told
    (line,) = run("read_results.py", str(tmp_path / "out")).splitlines()
    assert json.loads(line)["text"] == "A page for the examples"
    assert (
        run("read_page.py", str(tmp_path / "in/page.pdf")) == "ocr, 1 blocks, marks: []\nA page for the examples\n"
    )


def test_every_example_is_run_here_or_has_a_test_of_its_own() -> None:
    text = Path(__file__).read_text()
    assert [path.name for path in (ROOT / "examples").glob("*.py") if f'"{path.name}"' not in text] == []
