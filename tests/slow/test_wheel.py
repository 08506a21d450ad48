"""Quire as people install it: the wheel with one extra, in an environment that has nothing else (`make test` makes it).

Commands run in a folder with modules of everybody's names, which end whatever imports them.
"""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from quire.config.sections import StorageSettings
from quire.results.run_folder import read
from quire.storage import open_folder
from tests import documents
from tests.modules import ROOT, modules
from tests.waiting import BOUND_S

_ENVIRONMENT = ROOT / ".venv/wheel"
_SITE = _ENVIRONMENT / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


@pytest.fixture
def foreign_folder(tmp_path: Path) -> Path:
    """Code that has nothing to do with Quire, under names that Quire's own folders and modules have."""
    for name in ("pipeline", "jobs", "quire"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('foreign code runs')")
    for name in ("records", "config", "storage", "errors"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign code runs')")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/page.pdf").write_bytes(documents.pdf(["Installed from a wheel"]))
    return tmp_path


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_ENVIRONMENT / "bin" / program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        env={"PATH": f"{_ENVIRONMENT}/bin:/usr/bin:/bin", "HOME": str(folder)},
    )


def test_it_converts_beside_foreign_code_without_any_part_under_the_agpl(foreign_folder: Path) -> None:
    assert not (_SITE / "pymupdf").exists()
    done = run(foreign_folder, "quire", "convert", "in", "--output", "out")
    assert done.returncode == 0, done.stderr
    text = (foreign_folder / "out/markdown/page.pdf.md").read_text()
    assert text.strip() == "Installed from a wheel"
    settings = read(open_folder(str(foreign_folder / "out"), StorageSettings()))["settings"]
    assert settings["render.renderer"] == "pdfium"


def test_it_is_a_library_beside_foreign_code(foreign_folder: Path) -> None:
    script = "import quire; print(quire.read_page('in/page.pdf').markdown)"
    done = run(foreign_folder, "python", "-P", "-c", script)
    assert done.stdout.strip() == "Installed from a wheel", done.stderr


def test_it_claims_one_name_and_brings_all_its_modules() -> None:
    (distribution,) = importlib.metadata.distributions(name="quire-ocr", path=[str(_SITE)])
    files = {str(file) for file in distribution.files or ()}
    assert {name.split("/")[0] for name in files} == {"quire", f"quire_ocr-{distribution.version}.dist-info", ".."}
    assert {name for name in files if name.startswith("..")} == {"../../../bin/quire"}
    wanted = {name for name in modules() if not name.startswith("quire.jobs.bench")}
    installed = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in files
        if name.endswith(".py")
    }
    assert installed == wanted
    assert {"quire/py.typed", "quire/report/templates/report.html.jinja"} <= files
    metadata = distribution.metadata
    assert all(metadata[name] for name in ("Author", "Keywords", "Classifier", "License-Expression", "Summary"))
