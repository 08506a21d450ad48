"""From settings to an engine, and what can be known of it before it is made. The engines themselves are data:
`config/engines.py`.

An engine's module is imported only when it is chosen, so that only that engine's packages are needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from quire.config.engines import EngineKind, EngineNeeds, kind_named
from quire.config.profiles import PROFILES
from quire.config.settings import Settings
from quire.engines.base import LocalEngine
from quire.errors import ConfigError


def kind_of(settings: Settings) -> EngineKind:
    """The kind of engine that the settings name. Raises `ConfigError` for an unknown one."""
    return kind_named(settings.engine.name)


def needs(settings: Settings) -> EngineNeeds:
    """What one engine reserves on a cluster."""
    return kind_of(settings).needs(settings)


def lacks(settings: Settings) -> str:
    """What the engine needs besides its packages and lacks on this machine, and how to get it; empty if it can run."""
    kind = kind_of(settings)
    found: str = _function(kind.lacks)(settings) if kind.lacks else ""
    return found


def refuse_contradictions(settings: Settings) -> None:
    """Raise `ConfigError` if the engine is told to do what it cannot do on any machine."""
    engine, kind = settings.engine, kind_of(settings)
    if not kind.has_model:
        return
    if not engine.model:
        raise ConfigError("say which model the server has: --set engine.model=NAME, or engine.profile")
    if not kind.is_server and engine.profile in PROFILES and PROFILES[engine.profile].is_chat:
        raise ConfigError(
            f"{engine.profile} is a chat model: run `vllm serve {engine.model}` and read with --engine http"
        )


def pinned(settings: Settings) -> Settings:
    """The settings with the revision of the model that will run, where it can be known: a server does not tell its own.
    May ask the hub, or read a folder's weights. Raises `ConfigError`, `MissingDependency`."""
    kind = kind_of(settings)
    if not kind.has_model or kind.is_server:
        return settings
    from quire.engines.gpu.checkpoints import pin_revision

    revision = pin_revision(settings.engine.model, settings.engine.model_revision)
    return replace(settings, engine=replace(settings.engine, model_revision=revision))


def model_name(settings: Settings) -> str:
    """The model's name in the rows of a run."""
    kind = kind_of(settings)
    return settings.engine.model if kind.has_model else kind.model_name(settings)


async def make_engine(settings: Settings, num_processes: int | None = None) -> LocalEngine:
    """The engine that the settings name, once it is ready: loading a model takes a minute.

    `num_processes` overrides its number of CPU processes.
    """
    kind = kind_of(settings)
    start: Callable[[Settings, int], Awaitable[LocalEngine]] = _function(kind.starts)
    return await start(settings, num_processes or kind.num_processes(settings))


def _function(name: str) -> Callable[..., Any]:
    """The function that a record names as "module:function"; imports the module."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
