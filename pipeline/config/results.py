"""Which settings change results, and their fingerprint. Results of different settings never mix in one output folder.

Secrets change no results and are left out (vLLM's own arguments may hold one).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from quire.config.engines import KINDS, kind_named
from quire.config.sections import EngineSettings
from quire.config.settings import DEFAULT_RENDERER, Settings
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


def result_settings(settings: Settings) -> dict[str, Any]:
    """The settings that change results, as "section.key" → JSON value, without secrets. Everything else may differ
    freely."""
    kind = kind_named(settings.engine.name)
    wanted = {**_CHANGES_RESULTS, kind.name: kind.result_keys}
    if kind.has_model:
        wanted["engine"] = (*_CHANGES_RESULTS["engine"], *_CHANGES_RESULTS_OF_MODELS)
    everything = dataclasses.asdict(settings)
    everything["render"]["renderer"] = settings.render.renderer or DEFAULT_RENDERER
    values = {f"{section}.{key}": everything[section][key] for section, keys in wanted.items() for key in keys}
    return {"results_version": RESULTS_VERSION, **without_secrets(json.loads(json.dumps(values)))}


def is_result_setting(section: str, name: str) -> bool:
    """Whether this setting changes the results of any engine."""
    of_models = _CHANGES_RESULTS_OF_MODELS if section == "engine" else ()
    of_engines = (key for kind in KINDS if kind.name == section for key in kind.result_keys)
    return name in (*_CHANGES_RESULTS.get(section, ()), *of_models, *of_engines)


def default_result_settings(engine: str) -> dict[str, Any]:
    """`result_settings` if only the engine is chosen."""
    return result_settings(Settings(engine=EngineSettings(name=engine)))


def fingerprint(settings: Settings) -> str:
    """16 hex digits that differ whenever `result_settings` do. Settings with their default value are left out, except
    the engine's name: so a new setting changes no fingerprint until somebody sets it. A folder keeps the fingerprint
    that it was begun with, see `run_folder.fingerprint_in`."""
    defaults = default_result_settings(settings.engine.name)
    always = ("results_version", "engine.name")
    told = {
        name: value
        for name, value in result_settings(settings).items()
        if name in always or value != defaults[name]
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
