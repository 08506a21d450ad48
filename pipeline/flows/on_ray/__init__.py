"""The same conversion on Ray. The only package that joins a cluster; it only supplies proxies.

    driver ── shards ──► runner actors, each running `convert_shard` for several open shards
                            ├── RayRasterizer ──► rasterizer tasks (a chunk of pages; images stay in shared memory)
                            └── EnginePool of RayEngineHosts ──► engine actors (one GPU, one engine each)

Every engine belongs to one runner. So the runner's pool knows all pages in flight on the engine, and can find those
that killed it. The runner never sees pixels; it passes on references. Ray restarts actors, but the flow decides what is
tried again: a lost task, actor or node costs what was in flight on it.

This module is the driver's side, with `cluster` and `feeder`; `runner` is a runner's, `workers` what tasks and engine
actors do. None knows how pages are rendered, read or written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

from quire.config.settings import Settings
from quire.conversion.shard import ShardQueue
from quire.engines.choose import needs
from quire.errors import ConfigError
from quire.flows.converter import machinery
from quire.flows.on_ray.cluster import Cluster, connect, disconnect
from quire.flows.on_ray.feeder import Feeder
from quire.flows.on_ray.metrics import ray_report
from quire.flows.on_ray.runner import RunnerActor
from quire.flows.on_ray.workers import EngineActor, Work
from quire.meters.bottleneck import Machinery, Verdict
from quire.meters.flow_meter import RunMeter
from quire.quantities import counted
from quire.records import Shard
from quire.storage.uris import SHARED_STORES, is_remote

__all__ = ["Cluster", "Counts", "Work", "connect", "convert_on_ray", "disconnect", "num_engines"]

Counts = Counter[str]


async def convert_on_ray(
    shards: Iterable[Shard],
    work: Work,
    show: Callable[[Counts], None],
    cluster: Cluster,
    wait_for: Callable[[str], None] = lambda what: None,
) -> Verdict | None:
    """Convert and commit all shards on the joined cluster, and say what bounded it. About once a second `show` is given
    the pages so far, by outcome; `wait_for` is given what the first page waits for. Raises `QuireError` if the cluster
    is lost."""
    if not _sees_one_folder(work.settings):
        _refuse_local(work.output_uri)
        shards = _on_stores(shards)
    wait_for("starting the engines, and fetching the first documents")
    engines = _start_engines(work.settings)
    size = work.settings.ray.engines_per_runner
    groups = [engines[i : i + size] for i in range(0, len(engines), size)]
    runners = [(RunnerActor.remote(work), group) for group in groups]
    meter = RunMeter(_machinery(work.settings, len(engines)), ray_report(work.output_uri))
    feeder = Feeder(ShardQueue(shards), runners, work.settings.flow.open_shards, meter, show, wait_for)
    try:
        return await feeder.run(cluster.watch())
    finally:
        for actor in [*(runner for runner, _ in runners), *engines]:
            ray.kill(actor)


def num_engines(settings: Settings) -> int:
    """How many engines a run has on the joined cluster."""
    need, resources = needs(settings), ray.cluster_resources()
    room = resources.get("GPU", 0.0) / need.num_gpus if need.num_gpus else resources.get("CPU", 0.0)
    return settings.ray.num_engines or max(1, int(room))


def _start_engines(settings: Settings) -> list[Any]:
    """One actor an engine. Raises `ConfigError` if the cluster has no room for them, unless it adds nodes for what
    waits: otherwise Ray would wait for ever without a message."""
    need, resources, number = needs(settings), ray.cluster_resources(), num_engines(settings)
    num_gpus, num_cpus = resources.get("GPU", 0.0), resources.get("CPU", 0.0)
    cpus_wanted = number * need.num_cpus + (settings.ray.rasterizer_cpus or need.rasterizer_cpus)
    if settings.ray.may_grow and not settings.ray.num_engines:
        raise ConfigError("ray.may_grow needs a bound: set ray.num_engines to the number of engines that you want")
    if not settings.ray.may_grow and (cpus_wanted > num_cpus or number * need.num_gpus > num_gpus):
        raise ConfigError(
            f"{counted(number, 'engine')} and a rasterizer want {cpus_wanted:g} CPUs and {number * need.num_gpus:g} "
            f"GPUs, and the cluster has {num_cpus:g} and {num_gpus:g}: set ray.num_engines to what fits, or add nodes, "
            "or, where the cluster adds them by itself, set ray.may_grow=true"
        )
    options = EngineActor.options(num_gpus=need.num_gpus, num_cpus=need.num_cpus)
    return [options.remote(settings) for _ in range(number)]


def _machinery(settings: Settings, num_engines: int) -> Machinery:
    """From the cluster as it is now: CPUs that join later are not counted."""
    need, num_cpus = needs(settings), ray.cluster_resources().get("CPU", 0.0)
    cpus_of_rasterizer = settings.ray.rasterizer_cpus or need.rasterizer_cpus
    num_renderers = max(1.0, (num_cpus - num_engines * need.num_cpus) // cpus_of_rasterizer)
    return machinery(settings, num_engines, num_cpus, num_renderers)


def _sees_one_folder(settings: Settings) -> bool:
    """Whether a local path means the same for every process of the run."""
    nodes = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    return settings.ray.shared_folders or (len(nodes) == 1 and not settings.ray.may_grow)


def _on_stores(shards: Iterable[Shard]) -> Iterator[Shard]:
    for shard in shards:
        for source in shard.ranges:
            _refuse_local(source.uri)
        yield shard


def _refuse_local(uri: str) -> None:
    """A folder of this machine means another one, or none, on every other node."""
    if not is_remote(uri):
        raise ConfigError(
            f"{uri} is on this machine, and the cluster has others or may grow: read from and write to "
            f"{SHARED_STORES}, or, if all of them see the same folders, say --set ray.shared_folders=true"
        )
