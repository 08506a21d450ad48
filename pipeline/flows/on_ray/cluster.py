"""The cluster of a run: joins or starts it, watches that it is still there, and leaves it.

Knows nothing of shards and engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil
import ray
from ray.exceptions import RayError

from quire.config.sections import RaySettings
from quire.config.settings import ray_address
from quire.errors import QuireError

_LOOK_EVERY_S = 2.0
_HEAD_PATIENCE_S = 40.0  # for a head node to restart; after 60 s without one Ray ends this process
_CONNECT_TIMEOUT_S = 10.0
_VITAL = frozenset({"gcs_server", "raylet"})  # without either of them a cluster of one node cannot work
_GO_ON = "What is committed stays: run it again to go on"


@dataclass(frozen=True, slots=True)
class Cluster:
    """`head`: the address of its control store. `started`: the processes that this run started for it, by name; empty
    for a cluster that was there before."""

    head: str
    started: Mapping[psutil.Process, str] = field(default_factory=dict)

    async def watch(self) -> None:
        """Never returns. Raises `QuireError` within a minute after the cluster is lost: otherwise calls would wait for
        it, or Ray would end this process."""
        answered_at = time.monotonic()
        while True:
            for process, name in self.started.items():
                if name in _VITAL and _has_ended(process):
                    raise QuireError(
                        f"the Ray cluster that this run started has lost its process {name}, which broke down or was "
                        f"killed (see that there is memory enough). {_GO_ON}"
                    )
            silence = await asyncio.to_thread(_silence, self.head)
            if not silence:
                answered_at = time.monotonic()
            elif time.monotonic() - answered_at > _HEAD_PATIENCE_S:
                raise QuireError(
                    f"the head of the Ray cluster, {self.head}, has not answered for {_HEAD_PATIENCE_S:g} s "
                    f"({silence}). {_GO_ON} when it is back"
                )
            await asyncio.sleep(_LOOK_EVERY_S)


def connect(settings: RaySettings, metrics_port: int = 0) -> Cluster:
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
    others = set(psutil.Process().children())
    try:
        _knock(address)
        ray.init(**options)
    except (OSError, RayError, ValueError) as exc:
        raise QuireError(
            f"cannot join the Ray cluster at {address!r}: {exc}. "
            "Start one with `ray start --head`, or use --ray local"
        ) from exc
    started = set(psutil.Process().children()) - others if address == "local" else set()
    return Cluster(ray.get_runtime_context().gcs_address, {process: process.name() for process in started})


def disconnect(cluster: Cluster | None = None) -> None:
    """Leave it. A cluster that was started here ends with all of its processes: Ray leaves some running if others were
    killed."""
    ours = [each for process in cluster.started for each in _tree(process)] if cluster else []
    ray.shutdown()
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _knock(address: str) -> None:
    """Connect once, since Ray itself takes minutes to find that nobody listens. Raises OSError."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()


def _silence(address: str) -> str:
    """Why nobody answers at the address; empty if somebody does."""
    try:
        _knock(address)
    except OSError as exc:
        return str(exc)
    return ""


def _has_ended(process: psutil.Process) -> bool:
    """Also true for a zombie: a child of this process stays one until this process reaps it."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
