"""The records of engines hold together, and folders of earlier versions keep their fingerprints."""

from __future__ import annotations

import ast
import dataclasses

import pytest

from quire.config.engines import KINDS, OFFERED, EngineKind
from quire.config.profiles import PROFILES
from quire.config.results import fingerprint
from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.errors import ConfigError
from tests.modules import modules


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_record_names_what_there_is(kind: EngineKind) -> None:
    for place, what in ((kind.starts, ast.AsyncFunctionDef), (kind.lacks, ast.FunctionDef)):
        module, _, function = place.partition(":")
        names = (
            {node.name for node in ast.parse(modules()[module].read_text()).body if isinstance(node, what)}
            if place
            else {""}
        )
        assert function in names
    section = {field.name for field in dataclasses.fields(getattr(Settings(), kind.name))}
    assert set(kind.result_keys) <= section
    assert not kind.default_profile or kind.default_profile in PROFILES


def test_scripted_is_not_offered_and_unknown_engines_are_refused() -> None:
    assert "scripted" not in OFFERED and "rapidocr" in OFFERED
    with pytest.raises(ConfigError, match="unknown engine 'rapidcr'; there are: rapidocr, tesseract, vllm, http "):
        load_settings(None, ["engine.name=rapidcr"])


@pytest.mark.parametrize(
    ("overrides", "as_ever"),
    [
        ([], "034d91f2b1a79673"),
        (["engine.name=tesseract", "tesseract.languages=deu"], "a226ed6099b4abe6"),
        (["engine.name=http", "engine.profile=olmocr-2", "http.image_format=jpeg"], "4c5e4bb1e4af694a"),
        (["engine.name=vllm", "vllm.dtype=float16"], "694db0c386c1792d"),
        (["engine.name=scripted", "scripted.num_words=7"], "524be973e43e3b4a"),
        (["render.renderer=pdfium", "rapidocr.backend=openvino"], "6a67dfbc6f706a54"),
        (["render.renderer=mupdf"], "034d91f2b1a79673"),
    ],
)
def test_fingerprints_are_those_of_the_folders_that_there_are(overrides: list[str], as_ever: str) -> None:
    assert fingerprint(load_settings(None, overrides)) == as_ever
