"""Adding an engine takes its module and the edits of one file that the example's README shows: they are made here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.documents import LINE, pdf
from tests.modules import ROOT
from tests.runs import command
from tests.waiting import BOUND_S

_TOY = ROOT / "examples" / "toy_engine"


def test_a_toy_engine_is_added_as_its_readme_says_and_reads_a_page(tmp_path: Path) -> None:
    for name, place in (("pipeline", "quire"), ("jobs", "quire/jobs")):  # as they are installed
        shutil.copytree(ROOT / name, tmp_path / place, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_TOY / "toy_engine.py", tmp_path / "quire/engines")
    num_lines = _apply_edits(tmp_path / "quire/config/engines.py")
    assert num_lines + len((_TOY / "toy_engine.py").read_text().splitlines()) < 60

    (tmp_path / "a.pdf").write_bytes(pdf([LINE]))
    threshold = ("--set", "toy.threshold=100", "--set", "render.num_workers=1")
    options = ("--output", "out", "--engine", "toy", "--set", f"flow.cache_dir={tmp_path / 'cache'}", *threshold)
    done = _run(tmp_path, "convert", "a.pdf", *options)
    text = (tmp_path / "out/markdown/a.pdf.md").read_text()
    assert re.search(r"This page is \d+ x \d+ pixels, and 0\.\d% of them are dark\.", text), done
    assert '"toy.threshold": 100' in (tmp_path / "out/quire.json").read_text()
    assert "toy         yes" in _run(tmp_path, "engines")


def _apply_edits(kinds: Path) -> int:
    """Insert the README's blocks of code at the places that it names; returns how many lines they have."""
    settings, field, record = re.findall(r"```\n(.*?)```\n", (_TOY / "README.md").read_text(), re.DOTALL)
    text = kinds.read_text()
    sections = text.index("@dataclass(frozen=True, slots=True)\nclass EngineSections")
    end_of_sections = text.index("\n\n\n", sections) + 1
    end_of_kinds = text.index("\n)\n", text.index("\nKINDS = (\n")) + 1
    for place, block in ((end_of_kinds, record), (end_of_sections, field), (sections, f"{settings}\n\n")):
        text = text[:place] + block + text[place:]
    kinds.write_text(text)
    return len((settings + field + record).splitlines())


def _run(folder: Path, *arguments: str) -> str:
    """What the command says, run with the code of this folder."""
    variables = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command(*arguments), cwd=folder, env=variables, capture_output=True, text=True, timeout=BOUND_S
    )
    assert done.returncode in (0, 3), done.stderr  # 3: far less text than ink is doubtful
    return done.stdout + done.stderr
