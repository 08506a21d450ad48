"""The same conversion on Ray: the only package that joins a cluster, and it only supplies proxies.

    driver ── shards ──► runner actors, each running `convert_shard` for several open shards
                            ├── RayRasterizer ──► rasterizer tasks (a chunk of pages; images stay in shared memory)
                            └── EnginePool of RayEngineHosts ──► engine actors (one GPU, one engine each)

Every engine belongs to one runner, so that the runner's pool knows all that is in flight on it: it can tell which
pages an engine died of. The runner never sees pixels; it passes on references. Ray restarts actors, but the flow
decides what is tried again: a lost task, actor or node costs what was in flight on it.

This module is the driver's side, `runner` a runner's, `workers` what tasks and engine actors do. None knows how pages
are rendered, read or written.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from pipeline.bottleneck import FlowSums, Machinery, Verdict
from pipeline.config import RaySettings, Settings, ray_address
from pipeline.convert import ShardQueue, first_cause
from pipeline.engines.choose import needs
from pipeline.errors import ConfigError, QuireError
from pipeline.flow_meter import RunMeter
from pipeline.local_flow import machinery
from pipeline.metrics import Tally, outcomes
from pipeline.ray_flow.metrics import ray_report
from pipeline.ray_flow.runner import MAX_LOSSES, PATIENCE_S, PROBE_SECONDS, RunnerActor
from pipeline.ray_flow.workers import EngineActor, Work, cause, is_loss
from pipeline.records import Shard

__all__ = ["Counts", "Work", "connect", "convert_on_ray", "disconnect", "num_engines"]

_log = logging.getLogger(__name__)

Counts = Counter[str]


async def convert_on_ray(shards: Iterable[Shard], work: Work, show: Callable[[Counts], None]) -> Verdict | None:
    """Convert and commit all shards on the cluster that `ray.init` has joined, and say what bounded it. `show` is given
    the pages by outcome so far, about once a second."""
    if not _sees_one_folder(work.settings):
        _refuse_local(work.output_uri)
        shards = _on_s3(shards)
    engines = _start_engines(work.settings)
    size = work.settings.ray.engines_per_runner
    groups = [engines[i : i + size] for i in range(0, len(engines), size)]
    runners = [(RunnerActor.remote(work), group) for group in groups]
    meter = RunMeter(_machinery(work.settings, len(engines)), ray_report(work.output_uri))
    feeder = _Feeder(ShardQueue(shards), runners, work.settings.flow.open_shards, meter, show)
    try:
        return await feeder.run()
    finally:
        for actor in [*(runner for runner, _ in runners), *engines]:
            ray.kill(actor)


def connect(settings: RaySettings, metrics_port: int = 0) -> None:
    """Join the cluster at `settings.address` (or RAY_ADDRESS), or start one here, which then serves its metrics at
    `metrics_port` (0: Ray's choice). Raises `QuireError`."""
    address = ray_address(settings)
    options: dict[str, Any] = {"address": address, "logging_level": logging.WARNING, "log_to_driver": False}
    if address == "local":
        options["include_dashboard"] = False
        if settings.object_store_mb:
            options["object_store_memory"] = settings.object_store_mb << 20
        if metrics_port:
            options["_metrics_export_port"] = metrics_port
    try:
        _knock(address)
        ray.init(**options)
    except (OSError, RayError, ValueError) as exc:
        raise QuireError(
            f"cannot join the Ray cluster at {address!r}: {exc}. "
            "Start one with `ray start --head`, or use --ray local"
        ) from exc


def _knock(address: str) -> None:
    """Ray itself takes minutes to find out that nobody listens. Raises OSError."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def disconnect() -> None:
    ray.shutdown()


class _Feeder:
    """Hands shards to runners as they have room, again if a runner is lost with them. A runner is told its
    engines with each shard, since a restarted one has forgotten them."""

    def __init__(
        self,
        shards: ShardQueue,
        runners: Sequence[tuple[Any, Sequence[Any]]],
        max_open: int,
        meter: RunMeter,
        show: Callable[[Counts], None],
    ) -> None:
        self._shards = shards
        self._runners = runners
        self._max_open = max_open
        self._meter = meter
        self._show = show
        self._done: Tally = Counter()
        self._sums: dict[Any, FlowSums] = {}  # by runner, of its present life

    async def run(self) -> Verdict | None:
        watcher = asyncio.get_running_loop().create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                for runner, engines in self._runners:
                    turn = asyncio.Lock()
                    for _ in range(self._max_open):
                        group.create_task(self._feed(runner, engines, turn))
        except BaseExceptionGroup as errors:
            raise first_cause(errors) from errors
        finally:
            watcher.cancel()
        return await self._look()

    async def _feed(self, runner: Any, engines: Sequence[Any], turn: asyncio.Lock) -> None:
        while True:
            async with turn:
                shard = await self._shards.take()
                if shard is None:
                    return
                call = await self._begin(runner, engines, shard)
            self._done += await self._finish(call, runner, engines, shard)

    async def _begin(self, runner: Any, engines: Sequence[Any], shard: Shard) -> Any:
        """Hand over a shard; returns the running call when all the shard's pages are admitted."""
        await _wait_until_alive(runner)
        call = runner.convert.remote(shard, engines)
        with contextlib.suppress(RayError):  # `call` meets it too
            await runner.admitted.remote(shard.shard_id)
        return call

    async def _finish(self, call: Any, runner: Any, engines: Sequence[Any], shard: Shard) -> Tally:
        for num_losses in itertools.count(1):
            try:
                counts: Tally = await call
                return counts
            except (RayTaskError, RayActorError) as exc:
                if not is_loss(exc):
                    raise cause(exc) from exc
                if num_losses == MAX_LOSSES:
                    raise QuireError(
                        f"shard {shard.shard_id} was lost with its runner {MAX_LOSSES} times: {exc}"
                    ) from exc
                _log.warning("shard %s was lost with its runner and is converted again: %s", shard.shard_id, exc)
                call = await self._begin(runner, engines, shard)
        raise AssertionError("unreachable")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            await self._look()

    async def _look(self) -> Verdict | None:
        """Show and report what is done: shards that are finished, and pages of those that runners have open."""
        counts = self._done.copy()  # before asking: a shard that ends meanwhile would be counted as open, too
        runners = [runner for runner, _ in self._runners]
        answers = await asyncio.gather(*(runner.look.remote() for runner in runners), return_exceptions=True)
        for runner, answer in zip(runners, answers, strict=True):
            if not isinstance(answer, BaseException):
                open_counts, self._sums[runner] = answer
                counts += open_counts
        self._show(outcomes(counts))
        return self._meter.update(counts, self._sums.values())


async def _wait_until_alive(runner: Any) -> None:
    """A killed runner fails calls at once while Ray starts it again, which takes seconds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    is_known = False
    while True:
        try:
            await runner.look.remote()
            return
        except RayActorError as exc:
            if not is_known:
                _log.warning("a shard runner does not answer; it has %g s to come back: %s", PATIENCE_S, exc)
                is_known = True
            if asyncio.get_running_loop().time() > deadline:
                raise QuireError(f"a shard runner did not come back within {PATIENCE_S:g} s: {exc}") from exc
            await asyncio.sleep(PROBE_SECONDS)


def num_engines(settings: Settings) -> int:
    """How many engines a run has on the cluster that was joined."""
    need, resources = needs(settings), ray.cluster_resources()
    room = resources.get("GPU", 0.0) / need.num_gpus if need.num_gpus else resources.get("CPU", 0.0)
    return settings.ray.num_engines or max(1, int(room))


def _start_engines(settings: Settings) -> list[Any]:
    """One actor an engine. Refuses what the cluster has no room for, unless it grows by what waits: it would wait for
    ever without a word."""
    need, resources, number = needs(settings), ray.cluster_resources(), num_engines(settings)
    num_gpus, num_cpus = resources.get("GPU", 0.0), resources.get("CPU", 0.0)
    cpus_wanted = number * need.num_cpus + (settings.ray.rasterizer_cpus or need.rasterizer_cpus)
    if settings.ray.may_grow and not settings.ray.num_engines:
        raise ConfigError("ray.may_grow needs a bound: set ray.num_engines to the number of engines that you want")
    if not settings.ray.may_grow and (cpus_wanted > num_cpus or number * need.num_gpus > num_gpus):
        raise ConfigError(
            f"{number} engines and a rasterizer want {cpus_wanted:g} CPUs and {number * need.num_gpus:g} GPUs, and the "
            f"cluster has {num_cpus:g} and {num_gpus:g}: set ray.num_engines to what fits, or add nodes, or, where the "
            "cluster adds them by itself, set ray.may_grow=true"
        )
    options = EngineActor.options(num_gpus=need.num_gpus, num_cpus=need.num_cpus)
    return [options.remote(settings) for _ in range(number)]


def _machinery(settings: Settings, num_engines: int) -> Machinery:
    """Of the cluster as it is now: CPUs that join later are not known here."""
    need, num_cpus = needs(settings), ray.cluster_resources().get("CPU", 0.0)
    cpus_of_rasterizer = settings.ray.rasterizer_cpus or need.rasterizer_cpus
    num_renderers = max(1.0, (num_cpus - num_engines * need.num_cpus) // cpus_of_rasterizer)
    return machinery(settings, num_engines, num_cpus, num_renderers)


def _sees_one_folder(settings: Settings) -> bool:
    """Whether a local path means the same for every process of the run."""
    nodes = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    return settings.ray.shared_folders or (len(nodes) == 1 and not settings.ray.may_grow)


def _on_s3(shards: Iterable[Shard]) -> Iterator[Shard]:
    for shard in shards:
        for source in shard.ranges:
            _refuse_local(source.uri)
        yield shard


def _refuse_local(uri: str) -> None:
    """A folder of this machine means another one, or none, on every other node."""
    if not uri.startswith("s3://"):
        raise ConfigError(
            f"{uri} is on this machine, and the cluster has others or may grow: read from and write to s3://…, or, if "
            "all of them see the same folders, say --set ray.shared_folders=true"
        )
