"""Settings: what is unknown or of the wrong type is refused by name; the fingerprint sees what changes results."""

from pathlib import Path

import pytest

from quire.config.results import fingerprint, result_settings
from quire.config.settings import Settings, pages_per_shard
from quire.config.settings_file import load_settings
from quire.errors import ConfigError


def test_file_then_overrides(tmp_path: Path) -> None:
    path = tmp_path / "quire.toml"
    path.write_text('[render]\nrenderer = "pdfium"\nmax_pixels = 1000\n[engine]\nmodes = ["base", "gundam"]\n')
    settings = load_settings(path, ["render.max_pixels=2000", "engine.prompt=Read this", "storage.anonymous=true"])
    assert (settings.render.renderer, settings.render.max_pixels) == ("pdfium", 2000)
    assert settings.engine.modes == ("base", "gundam")
    assert settings.engine.prompt == "Read this"
    assert settings.storage.anonymous is True


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rendr.renderer=pdfium", "unknown setting rendr; the nearest known one is render"),
        ("render.rendrer=pdfium", "render.rendrer; the nearest known one is render.renderer"),
        ("render.renderer=ghostscript", "render.renderer"),
        ("render.max_pixels=many", "render.max_pixels"),
        ("render.max_pixels", "section.key=value"),
        ("plan.pages_per_shard=0", "plan.pages_per_shard: Input should be greater than 0"),
        ("flow.open_shards=0", "flow.open_shards"),
        ("scripted.loop_share=1.5", "less than or equal to 1"),
        ("engine.modes=[]", "at least 1 item"),
        ("max_pixels=3", "section.key=value"),
        ("plan.pages=5-3", "cannot understand the pages '5-3': write 1-5,9"),
    ],
)
def test_what_is_refused_and_how_it_is_said(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        load_settings(None, [override])


def test_broken_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[render\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(tmp_path / "bad.toml")
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(tmp_path / "none.toml")
    (tmp_path / "flat.toml").write_text("render = 3\n")
    with pytest.raises(ConfigError, match="is a section"):
        load_settings(tmp_path / "flat.toml")


@pytest.mark.parametrize(
    "override",
    [
        "render.renderer=pdfium",
        "engine.name=scripted",
        'engine.modes=["base"]',
        "engine.prompt=x",
        "rapidocr.backend=openvino",
        "text.keep_headers_and_footers=false",
        "text.page_marks=true",
        'text.page_separator="\\n---\\n"',
        "plan.pages=1-5,9",
    ],
)
def test_the_fingerprint_sees_what_changes_results(override: str) -> None:
    assert fingerprint(load_settings(None, [override])) != fingerprint(Settings())


@pytest.mark.parametrize(
    "override",
    [
        "render.page_cpu_s=5",
        "flow.open_shards=9",
        "ray.num_engines=4",
        "tesseract.languages=deu",
        "storage.region=x",
        "plan.pages=",
        "plan.pages=1-",
        'text.page_separator="\\n\\n"',
    ],
)
def test_the_fingerprint_ignores_the_rest(override: str) -> None:
    assert fingerprint(load_settings(None, [override])) == fingerprint(Settings())


def test_result_settings_are_plain_json() -> None:
    assert result_settings(Settings())["engine.modes"] == ["page150"]


@pytest.mark.parametrize(
    ("overrides", "number"),
    [
        (["engine.name=rapidocr"], 16),
        (["engine.name=tesseract"], 16),
        (["engine.name=http", "engine.model=m"], 64),
        (["engine.name=vllm"], 256),
        (["engine.name=rapidocr", "plan.pages_per_shard=300"], 300),
    ],
)
def test_what_is_committed_together_is_minutes_of_work_of_any_engine(overrides: list[str], number: int) -> None:
    assert pages_per_shard(load_settings(None, overrides)) == number
