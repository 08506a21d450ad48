"""All sections together, and what follows from several settings, or from a setting and the environment.

The only place that reads the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from quire.config.engines import EngineSections, HttpSettings, kind_named
from quire.config.sections import (
    CanarySettings,
    CostSettings,
    EngineSettings,
    FlowSettings,
    MetricsSettings,
    NightlySettings,
    PlanSettings,
    RaySettings,
    RenderSettings,
    StorageSettings,
    TextSettings,
)

DEFAULT_RENDERER = "mupdf"
"""Used if the settings do not choose one, and it is installed."""


@dataclass(frozen=True, slots=True)
class Settings(EngineSections):
    """All sections; those that are one engine's own are inherited."""

    storage: StorageSettings = StorageSettings()
    plan: PlanSettings = PlanSettings()
    render: RenderSettings = RenderSettings()
    engine: EngineSettings = EngineSettings()
    text: TextSettings = TextSettings()
    flow: FlowSettings = FlowSettings()
    cost: CostSettings = CostSettings()
    canary: CanarySettings = CanarySettings()
    ray: RaySettings = RaySettings()
    metrics: MetricsSettings = MetricsSettings()
    nightly: NightlySettings = NightlySettings()


def pages_per_shard(settings: Settings) -> int:
    """How many pages are committed together."""
    return settings.plan.pages_per_shard or kind_named(settings.engine.name).pages_per_shard


def ray_address(ray: RaySettings) -> str:
    """The address of the cluster to join, or "local" to start one here."""
    return (environment("RAY_ADDRESS") or "local") if ray.address == "auto" else ray.address


def environment(name: str) -> str:
    """A variable of the environment, empty if it is not set."""
    return os.environ.get(name, "")


def api_key(http: HttpSettings) -> str:
    """The server's key, empty if there is none. Keep it out of logs, errors and files."""
    return environment(http.api_key_variable)
