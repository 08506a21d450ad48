"""What an hour of computing costs, and which devices a run occupies.

The prices are round figures to start from, not offers: `cost.price_per_hour` says what is paid. `pace.py` says how
fast a GPU type is.
"""

from __future__ import annotations

from quire.config.settings import Settings
from quire.engines.choose import kind_of
from quire.errors import ConfigError

GPU_PRICES = {"A100-40G": 2.74, "A100-80G": 3.43, "H100": 6.88, "H200": 7.91, "L40S": 1.86}
"""USD an hour of one GPU on demand, about what Amazon EC2 asks for p4d, p4de, p5, p5en (an eighth each) and g6e.xlarge.
A100 and H100 were found in a price list of November 2026; H200 and L40S were not checked."""
CORE_PRICE = 0.09
"""USD an hour of one core (two vCPUs) on demand, about what Amazon EC2 asks for c7i; not checked."""


def has_gpus(settings: Settings) -> bool:
    """Whether computing is counted in GPUs: the engine's own, or a server's."""
    kind = kind_of(settings)
    return kind.is_server or kind.needs(settings).num_gpus > 0


def unit(settings: Settings) -> str:
    return "GPU" if has_gpus(settings) else "core"


def device(settings: Settings) -> str:
    """The device that is counted, by its name: a GPU type, or "core"."""
    return gpu_type(settings) if has_gpus(settings) else "core"


def price_per_hour(settings: Settings) -> float:
    """USD of one GPU or core."""
    if settings.cost.price_per_hour is not None:
        return settings.cost.price_per_hour
    return GPU_PRICES[gpu_type(settings)] if has_gpus(settings) else CORE_PRICE


def gpu_type(settings: Settings) -> str:
    """The GPU type of the settings. Raises `ConfigError` for one that is not known."""
    if settings.cost.gpu not in GPU_PRICES:
        raise ConfigError(f"unknown GPU type {settings.cost.gpu!r}; there are: {', '.join(GPU_PRICES)}")
    return settings.cost.gpu


def num_devices(settings: Settings, num_engines: int | None) -> float:
    """GPUs or cores that a run occupies: of `num_engines` on a cluster, or of this machine (None). The server behind
    http engines counts as one GPU however many there are, since nothing tells how many it has."""
    kind = kind_of(settings)
    if kind.is_server:
        return 1
    gpus = kind.needs(settings).num_gpus
    if num_engines is not None or gpus:
        return (num_engines or 1) * (gpus or 1)
    return kind.num_processes(settings)
