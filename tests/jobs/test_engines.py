"""`quire engines` as a person sees it."""

from pathlib import Path

import pytest

from quire.config.profiles import PROFILES
from tests.runs import quire


def test_engines_and_profiles_are_listed() -> None:
    shown = quire("engines")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert "scripted    for tests: makes words up" in lines and "rapidocr    yes" in lines
    listed = {line.split()[0]: line for line in lines if line}
    assert {"rapidocr", "tesseract", "vllm", "http", *PROFILES} <= set(listed)
    assert listed["deepseek-ocr"].split() == [
        "deepseek-ocr",
        "deepseek-ai/DeepSeek-OCR",
        "MIT",
        "vllm,",
        "http",
        "base,",
        "gundam",
    ]
    assert "not known" in listed["glyph"] and "vllm" not in listed["dots-ocr"]


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "tesseract   no, needs the program tesseract: apt-get install" in quire("engines").stdout


def test_without_a_gpu_it_is_asked_for_before_the_model_and_the_hub(tmp_path: Path) -> None:
    """A module by the name of vLLM stands in for the package: it is not imported."""
    (tmp_path / "vllm.py").touch()
    (tmp_path / "in").mkdir()
    variables = {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "HF_ENDPOINT": "http://127.0.0.1:1"}
    assert "vllm        no, needs a GPU" in quire("engines", **variables).stdout
    refused = quire("convert", f"{tmp_path}/in", "--output", f"{tmp_path}/out", "--engine", "vllm", **variables)
    assert refused.returncode == 1 and not (tmp_path / "out").exists()
    (line,) = refused.stderr.splitlines()
    assert "the engine vllm needs a GPU, and none is to be reached here" in line and "vllm.device=cpu" in line


def test_one_profile_in_full() -> None:
    shown = quire("engines", "dots-ocr")
    assert shown.returncode == 0, shown.stderr
    for words in (
        "layout_json",
        "dpi200x28",
        "Bbox format",
        "temperature = 0.1",
        "github.com/rednote-hilab/dots.ocr",
    ):
        assert words in shown.stdout


def test_a_profile_that_is_not_there() -> None:
    shown = quire("engines", "nosuch")
    assert shown.returncode == 2 and "unlimited-ocr" in shown.stderr
