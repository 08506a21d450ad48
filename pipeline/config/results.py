"""Which settings change results, and their fingerprint. Results of different settings never mix in one output folder.

Secrets, as vLLM's own arguments may hold one, change no results and are left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from quire.config.engines import EngineSettings
from quire.config.profiles import DEFAULT_PROFILES
from quire.config.settings import Settings
from quire.secrets import without_secrets

RESULTS_VERSION = 1
"""Raised whenever the same pixels and settings would give other tables than before."""

_CHANGES_RESULTS: Mapping[str, tuple[str, ...]] = {
    "plan": ("pages",),
    "render": ("renderer", "max_pixels"),
    "engine": ("name", "modes", "prompt", "max_output_tokens"),
    "text": ("keep_headers_and_footers", "page_separator", "page_marks"),
}
_CHANGES_RESULTS_OF_MODELS = (
    *("profile", "model", "model_revision", "parser", "temperature", "top_p"),
    *("ngram_size", "ngram_window", "ngram_whitelist"),
)
_CHANGES_RESULTS_OF_ENGINE: Mapping[str, tuple[str, ...]] = {
    "rapidocr": ("backend",),
    "tesseract": ("languages",),
    "vllm": ("dtype", "quantization", "kv_cache_dtype", "hf_overrides", "max_model_len", "extra"),
    "http": ("image_format",),
    "scripted": ("loop_share", "truncate_share", "reject_share", "crash_share", "num_words", "pages"),
}


def result_settings(settings: Settings) -> dict[str, Any]:
    """The settings that change results, as "section.key" → JSON value, without secrets. Everything else may differ
    freely."""
    name = settings.engine.name
    wanted = {**_CHANGES_RESULTS, name: _CHANGES_RESULTS_OF_ENGINE[name]}
    if name in DEFAULT_PROFILES:
        wanted["engine"] = (*_CHANGES_RESULTS["engine"], *_CHANGES_RESULTS_OF_MODELS)
    everything = dataclasses.asdict(settings)
    values = {f"{section}.{key}": everything[section][key] for section, keys in wanted.items() for key in keys}
    return {"results_version": RESULTS_VERSION, **without_secrets(json.loads(json.dumps(values)))}


def is_result_setting(section: str, name: str) -> bool:
    """Whether this setting changes the results of any engine."""
    of_models = _CHANGES_RESULTS_OF_MODELS if section == "engine" else ()
    return name in (*_CHANGES_RESULTS.get(section, ()), *of_models, *_CHANGES_RESULTS_OF_ENGINE.get(section, ()))


def default_result_settings(engine: str) -> dict[str, Any]:
    """`result_settings` of whoever chooses nothing but the engine."""
    return result_settings(Settings(engine=EngineSettings(name=cast(Any, engine))))


def fingerprint(settings: Settings) -> str:
    """16 hex digits that differ whenever `result_settings` do. Of what is as by default only the engine's name goes in:
    a setting that is new changes no fingerprint while it is left alone. A folder keeps the one that it was begun with,
    see `run_folder.fingerprint_in`."""
    defaults = default_result_settings(settings.engine.name)
    always = ("results_version", "engine.name")
    told = {
        name: value
        for name, value in result_settings(settings).items()
        if name in always or value != defaults[name]
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
