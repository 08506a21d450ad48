"""Profiles as data: each one makes sense, and becomes the settings that nothing else sets."""

from __future__ import annotations

import pytest

from quire.config.engines import KINDS
from quire.config.profiles import PROFILES, Profile
from quire.config.results import fingerprint, result_settings
from quire.config.settings_file import load_settings
from quire.engines.ladder import ladder
from quire.errors import ConfigError
from quire.flows.requirements import require
from quire.rasterize.modes import MODES
from quire.records import Request


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
@pytest.mark.parametrize("engine", [kind.name for kind in KINDS if kind.has_model])
def test_every_profile_gives_settings_that_hold(profile: Profile, engine: str) -> None:
    settings = load_settings(None, [f"engine.name={engine}", f"engine.profile={profile.name}"])
    requests = ladder(settings.engine)
    assert {request.mode for request in requests} <= set(MODES)
    if engine == "http":
        assert all(MODES[request.mode].fit == "own" for request in requests), "one view of the page"
    assert settings.engine.model == profile.model
    assert (profile.guard is None) == (settings.engine.ngram_size == 0)
    assert profile.source.startswith("https://") or profile.name == "generic"
    assert profile.licence or profile.note


def test_a_profile_fills_in_what_is_not_said() -> None:
    settings = load_settings(None, ["engine.name=vllm", "engine.prompt=Read.", "engine.ngram_window=128"])
    engine = settings.engine
    assert (engine.profile, engine.model) == ("deepseek-ocr", "deepseek-ai/DeepSeek-OCR")
    assert (engine.prompt, engine.ngram_size, engine.ngram_window) == ("Read.", 30, 128)
    assert ladder(settings.engine) == (Request("base", "Read.", 0.0, 8192), Request("gundam", "Read.", 0.0, 8192))


def test_engines_without_a_model_take_no_profile() -> None:
    assert load_settings(None, []).engine.profile == ""
    with pytest.raises(ConfigError, match="goes with engine.name vllm or http"):
        load_settings(None, ["engine.profile=dots-ocr"])
    with pytest.raises(ConfigError, match="unknown profile 'dots'.*dots-ocr"):
        load_settings(None, ["engine.name=http", "engine.profile=dots"])


def test_rungs_with_a_temperature_of_their_own() -> None:
    modes = 'engine.modes=["base", "gundam", "gundam@0.4"]'
    requests = ladder(load_settings(None, ["engine.name=vllm", modes, "engine.temperature=0.1"]).engine)
    assert [(request.mode, request.temperature) for request in requests] == [
        ("base", 0.1),
        ("gundam", 0.1),
        ("gundam", 0.4),
    ]


@pytest.mark.parametrize("rung", ["base@", "base@hot", "base@3", "base@-1", "base@nan", "base@0.1@0.2"])
def test_rungs_that_make_no_sense(rung: str) -> None:
    with pytest.raises(ConfigError, match="mode@temperature"):
        ladder(load_settings(None, [f'engine.modes=["{rung}"]']).engine)


@pytest.mark.parametrize(
    "override",
    [
        "engine.profile=olmocr-2", "engine.model=other", "engine.model_revision=abc", "engine.parser=layout_json",
        "engine.temperature=0.5", "engine.top_p=0.5", "engine.ngram_size=3", "http.image_format=jpeg",
    ],
)  # fmt: skip
def test_the_fingerprint_sees_the_model_and_how_it_is_asked(override: str) -> None:
    base = ["engine.name=http", "engine.model=m"]
    assert fingerprint(load_settings(None, [*base, override])) != fingerprint(load_settings(None, base))


@pytest.mark.parametrize("override", ["http.url=http://elsewhere/v1", "http.window=3", "http.max_retries=0"])
def test_the_fingerprint_ignores_where_the_server_is(override: str) -> None:
    base = ["engine.name=http", "engine.model=m"]
    assert fingerprint(load_settings(None, [*base, override])) == fingerprint(load_settings(None, base))


def test_results_name_the_model_that_they_follow_from() -> None:
    results = result_settings(load_settings(None, ["engine.name=http", "engine.profile=dots-ocr"]))
    assert results["engine.model"] == "rednote-hilab/dots.ocr"
    assert results["engine.parser"] == "layout_json"
    assert "engine.model" not in result_settings(load_settings(None, []))


def test_chat_models_are_for_servers() -> None:
    with pytest.raises(ConfigError, match="vllm serve allenai/olmOCR-2"):
        require(load_settings(None, ["engine.name=vllm", "engine.profile=olmocr-2"]))
