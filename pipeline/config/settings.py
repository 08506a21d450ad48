"""All sections together, and what follows from several settings, or from a setting and the environment.

The only place that reads the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from quire.config.engines import (
    EngineSettings,
    HttpSettings,
    RapidOcrSettings,
    ScriptedSettings,
    TesseractSettings,
    VllmSettings,
)
from quire.config.sections import (
    CanarySettings,
    CostSettings,
    FlowSettings,
    MetricsSettings,
    NightlySettings,
    PlanSettings,
    RaySettings,
    RenderSettings,
    StorageSettings,
    TextSettings,
)

PAGES_PER_SHARD = 256
_PAGES_PER_SHARD = {"rapidocr": 16, "tesseract": 16, "http": 64}


@dataclass(frozen=True, slots=True)
class Settings:
    storage: StorageSettings = StorageSettings()
    plan: PlanSettings = PlanSettings()
    render: RenderSettings = RenderSettings()
    engine: EngineSettings = EngineSettings()
    rapidocr: RapidOcrSettings = RapidOcrSettings()
    tesseract: TesseractSettings = TesseractSettings()
    vllm: VllmSettings = VllmSettings()
    http: HttpSettings = HttpSettings()
    scripted: ScriptedSettings = ScriptedSettings()
    text: TextSettings = TextSettings()
    flow: FlowSettings = FlowSettings()
    cost: CostSettings = CostSettings()
    canary: CanarySettings = CanarySettings()
    ray: RaySettings = RaySettings()
    metrics: MetricsSettings = MetricsSettings()
    nightly: NightlySettings = NightlySettings()


def pages_per_shard(settings: Settings) -> int:
    """How many pages are committed together. A kill costs what is open, which is to be minutes of work of any engine: a
    page takes a core some 2 to 25 seconds, a server that nobody knows perhaps ten, a GPU less than one."""
    return settings.plan.pages_per_shard or _PAGES_PER_SHARD.get(settings.engine.name, PAGES_PER_SHARD)


def ray_address(ray: RaySettings) -> str:
    """Of the cluster to join, or "local" for one to start here."""
    return (environment("RAY_ADDRESS") or "local") if ray.address == "auto" else ray.address


def environment(name: str) -> str:
    """A variable of the environment, empty where it is not set."""
    return os.environ.get(name, "")


def api_key(http: HttpSettings) -> str:
    """The server's key, empty where there is none. Keep it out of logs, errors and files."""
    return environment(http.api_key_variable)
