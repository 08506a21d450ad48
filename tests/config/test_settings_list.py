"""What lists settings: the template reads back, each value says where it comes from, the docs are up to date."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from quire.config.described import described, sections
from quire.config.settings import Settings
from quire.config.settings_file import load_settings, load_with_origins
from quire.config.settings_template import template, toml
from quire.errors import ConfigError
from quire.jobs import settings_reference
from quire.jobs.cli import quire
from quire.jobs.settings import settings_command
from tests.modules import ROOT


def shown(*arguments: str) -> str:
    return CliRunner().invoke(settings_command, [*arguments], catch_exceptions=False).output


def read_back(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "quire.toml").write_text(text)
    return load_settings(tmp_path / "quire.toml")


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("change", [str, uncommented])
def test_the_template_gives_the_defaults_also_without_its_marks(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    text = change(shown())
    assert read_back(tmp_path, text) == Settings()
    for setting in described().values():
        is_told = re.search(rf"^(#|# )?{setting.name} (= |is not set$)", text, re.MULTILINE)
        assert is_told and setting.meaning.split()[0] in text, setting.full_name


OVERRIDES = (
    "engine.name=vllm",
    'engine.prompt="two\\nlines, \\"quoted\\" \x7f"',
    "engine.modes=base,gundam@0.3",
    "storage.endpoint_url=http://127.0.0.1:9000",
    "storage.path_style=true",
    "cost.max_cost=1e-7",
    'vllm.extra={max_num_seqs = 8, "a b" = [1, 2.5, true], inner = {x = "y"}}',
)


def test_what_is_in_force_reads_back_and_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[render]\nrenderer = "mupdf"\nmax_pixels = 7\n[engine]\nprompt = "x"\n')
    loaded = load_with_origins(tmp_path / "mine.toml", OVERRIDES)
    assert read_back(tmp_path, template(loaded)) == loaded.settings
    assert read_back(tmp_path, uncommented(template(loaded))) == loaded.settings
    origins = {name: origin for name, origin in loaded.origins.items() if name.startswith(("engine", "render"))}
    assert origins["render.max_pixels"] == origins["render.renderer"] == str(tmp_path / "mine.toml")
    assert origins["engine.name"] == origins["engine.prompt"] == "the command line"
    assert origins["engine.model"] == origins["engine.ngram_size"] == "the profile deepseek-ocr"
    assert "engine.latents" not in origins and "render.page_cpu_s" not in origins


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["engine", "--engine", "vllm"], ['name = "vllm"  # from the command line']),
        (["plan"], ["# pages_per_shard is not set", "#num_fetches = 8"]),
        (["flow", "--set", "flow.cache_mb=5"], ["cache_mb = 5  # from the command line", "#open_shards = 256"]),
        (
            ["vllm", "--set", 'vllm.extra={hf_token = "hidden", max_num_seqs = 8}'],
            ["extra = { max_num_seqs = 8 }  # from the command line; without the secrets that it holds"],
        ),
    ],
)
def test_a_section_is_shown_by_itself(arguments: list[str], lines: list[str]) -> None:
    text = shown(*arguments)
    assert re.findall(r"^\[(\w+)\]$", text, re.MULTILINE) == arguments[:1]
    assert set(lines) <= set(text.splitlines())
    assert "hidden" not in text


def test_every_section_and_setting_says_what_it_is() -> None:
    for name, meaning in sections().items():
        assert meaning and not re.match(r"\w+\(", meaning), f"{name} has no docstring"
    for setting in described().values():
        assert re.fullmatch(r"(?s)\S.*[.)]", setting.meaning), setting.full_name


def test_the_reference_in_docs_is_up_to_date() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert text == settings_reference.reference(), "docs/settings.md is behind: run `make reference`"


LISTS = [setting for setting in described().values() if setting.is_list]


@pytest.mark.parametrize("setting", LISTS, ids=lambda setting: setting.full_name)
@pytest.mark.parametrize("form", ["{0}", "{0},{1}", "{0}, {1}", "[{0},{1}]", "TOML", ""])
def test_a_list_is_written_as_one_would(setting: Any, form: str) -> None:
    items = ("base", "gundam@0.5") if "text" in setting.allowed else (7, 128821)
    wanted = items if "1" in form or form == "TOML" else items[:1] if form else ()
    text = toml(list(items)) if form == "TOML" else form.format(*items)
    if not wanted and "or more" in setting.allowed:
        with pytest.raises(ConfigError, match="at least 1 item"):
            load_settings(None, [f"{setting.full_name}={text}"])
        return
    settings = load_settings(None, [f"{setting.full_name}={text}"])
    assert getattr(getattr(settings, setting.section), setting.name) == wanted


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("engine.modes=[base", '--set engine.modes=a,b, or in a file modes = ["a", "b"]'),
        ("engine.ngram_whitelist=1;2", "--set engine.ngram_whitelist=1,2, or in a file ngram_whitelist = [1, 2]"),
        ("vllm.extra=8", "--set 'vllm.extra={name = \"value\"}', or in a file [vllm.extra]"),
        ("vllm.hf_overrides={a:1}", "--set 'vllm.hf_overrides={name ="),
    ],
)
def test_what_is_no_list_or_table_is_told_the_right_form(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_settings(None, [override])


@pytest.mark.parametrize(("text", "value"), [("5", "5"), ("true", "true"), ('"5"', "5"), ("1-2", "1-2"), ("", "")])
def test_a_text_is_taken_as_it_is_written(text: str, value: str) -> None:
    assert load_settings(None, [f"engine.prompt={text}"]).engine.prompt == value


def completions(*words: str) -> list[str]:
    """What comes for the last of these words."""
    found = ShellComplete(quire, {}, "quire", "_QUIRE_COMPLETE").get_completions([*words[:-1]], words[-1])
    return [item.value for item in found]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sett"], ["settings"]),
        (["convert", "--set", "render.max"], ["render.max_pixels="]),
        (["convert", "--engine", "tess"], ["tesseract"]),
        (["settings", "canar"], ["canary"]),
        (["completion", "f"], ["fish"]),
    ],
)
def test_words_are_completed(words: list[str], wanted: list[str]) -> None:
    assert completions(*words) == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_quire(shell: str) -> None:
    done = CliRunner().invoke(quire, ["completion", shell])
    assert done.exit_code == 0
    assert f"_QUIRE_COMPLETE={shell}_complete" in done.output
