"""What a run lacks is told at once and in one line; without MuPDF a new folder is pdfium's, and says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quire.config.extras import CPU, GPU, HTTP, METRICS_PORT, MUPDF, OPENVINO, RAY, REPORT
from quire.config.results import fingerprint
from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.errors import MissingDependency
from quire.flows.requirements import missing_for_engine, require, with_renderer
from quire.jobs.terminal import Terminal
from quire.results.run_folder import claim, refuse_other_settings
from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from quire.storage import open_folder
from tests.runs import scripted_settings, write_samples
from tests.test_repository import _project

Hide = Callable[..., None]


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Hide:
    """Python takes a module for one that is not installed if it is None where modules are kept."""

    def hide(*modules: str) -> None:
        for module in modules:
            monkeypatch.setitem(sys.modules, module, None)

    return hide


@pytest.mark.parametrize(
    ("overrides", "on_ray", "words"),
    [
        ([], False, "this run needs rapidocr, onnxruntime and cv2 (the engine rapidocr): pip install 'quire-ocr[cpu]'"),
        (["rapidocr.backend=openvino"], False, "pip install 'quire-ocr[openvino]'"),
        (["engine.name=tesseract"], False, ""),
        (["render.renderer=mupdf"], False, "--renderer pdfium): pip install 'quire-ocr[cpu,mupdf]'"),
        (["metrics.port=9000"], False, "prometheus_client (--metrics-port): pip install 'quire-ocr[cpu,metrics]'"),
        (["metrics.port=9000", "render.renderer=mupdf"], True, "(--ray): pip install 'quire-ocr[cpu,mupdf,ray]'"),
    ],
)  # fmt: skip
def test_all_that_is_missing_is_told_in_one_line(
    hide: Hide, overrides: list[str], on_ray: bool, words: str
) -> None:
    hide("rapidocr", "onnxruntime", "openvino", "cv2", "pymupdf", "ray", "psutil", "prometheus_client")
    settings = load_settings(None, overrides)
    if not words:
        return require(settings, runs_here=False, on_ray=on_ray)
    with pytest.raises(MissingDependency) as refused:
        require(settings, runs_here=False, on_ray=on_ray)
    assert str(refused.value).endswith(words) and "\n" not in str(refused.value)


def test_packages_and_what_the_machine_lacks_are_told_together(
    hide: Hide, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide("ray", "psutil")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(
        MissingDependency, match=r"quire-ocr\[ray\]'; and .* tesseract needs the program tesseract"
    ):
        require(load_settings(None, ["engine.name=tesseract"]), on_ray=True)
    assert missing_for_engine(load_settings(None, ["engine.name=tesseract"])).startswith("the program tesseract")


def test_the_extras_are_those_of_the_project() -> None:
    extras = {CPU, GPU, HTTP, METRICS_PORT, MUPDF, OPENVINO, RAY, REPORT}
    assert {extra.name for extra in extras} <= set(_project()["optional-dependencies"])


async def test_without_mupdf_a_new_folder_is_pdfiums_and_stays_so(
    tmp_path: Path, hide: Hide, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(tmp_path / "in", 1)
    inputs, settings = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out")), scripted_settings(tmp_path)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "pymupdf", None)
        await make_plan(inputs, settings, Terminal())
    said = capsys.readouterr().err
    assert said.count("PyMuPDF is not installed: pdfium renders") == 1 and "quire-ocr[mupdf]" in said
    described = json.loads((tmp_path / "out/quire.json").read_text())
    assert described["settings"]["render.renderer"] == "pdfium"
    assert described["fingerprint"] == fingerprint(scripted_settings(tmp_path, "render.renderer=pdfium"))

    folder = open_folder(str(tmp_path / "out"), StorageSettings())
    refuse_other_settings(folder, settings)
    told: list[str] = []
    assert with_renderer(settings, folder, told.append).render.renderer == "pdfium", (
        "also where PyMuPDF is installed"
    )
    assert not told


def test_a_folder_that_was_begun_with_mupdf_wants_it(tmp_path: Path, hide: Hide) -> None:
    folder = open_folder(str(tmp_path / "out"), StorageSettings())
    claim(folder, Settings())
    hide("pymupdf")
    settings = with_renderer(scripted_settings(tmp_path), folder, print)
    with pytest.raises(
        MissingDependency, match=r"pymupdf \(the renderer mupdf; .*pip install 'quire-ocr\[mupdf\]'"
    ):
        require(settings)


def test_who_chooses_a_renderer_gets_no_other(tmp_path: Path, hide: Hide) -> None:
    hide("pymupdf")
    chosen = load_settings(None, ["render.renderer=mupdf"])
    assert with_renderer(chosen, open_folder(str(tmp_path / "new"), StorageSettings()), print) == chosen
