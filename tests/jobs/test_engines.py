"""`quire engines` as a person sees it."""

import pytest

from pipeline.engines.profiles import PROFILES
from tests.runs import quire


def test_engines_and_profiles_are_listed() -> None:
    shown = quire("engines")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert "scripted    yes" in lines
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
