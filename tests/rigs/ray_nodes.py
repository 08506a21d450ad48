"""Ray nodes of this process, which a test adds and takes away. For a cluster that a person starts: `ray_cluster`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from ray._private.node import Node
from ray.cluster_utils import Cluster

from tests.rigs.ray_cluster import START_TRIES, agent_ports, kill


@contextmanager
def head_node(num_cpus: int, **options: Any) -> Iterator[Cluster]:
    """A cluster of one node, with `options` of `Cluster.add_node`. Drivers find it at its `address`."""
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("RAY_worker_niceness", "0")  # other tests run beside this one
        cluster = Cluster()
        add_node(cluster, num_cpus, **{"include_dashboard": False, "no_monitor": True, **options})
        try:
            yield cluster
        finally:
            cluster.shutdown()


def add_node(cluster: Cluster, num_cpus: int, **options: Any) -> Node:
    """Without what costs CPU and does nothing for a run. Not in a thread: Ray installs signal handlers."""
    others = set(psutil.Process().children())
    for num_left in reversed(range(START_TRIES)):
        try:
            return cluster.add_node(
                wait=False,  # it has registered when it is there; Ray would wait again, and keep one that is late
                num_cpus=num_cpus,
                object_store_memory=200 << 20,
                include_log_monitor=False,
                **agent_ports(),
                **options,
            )
        except Exception:
            kill(set(psutil.Process().children()) - others)
            if not num_left:
                raise
    raise AssertionError("the last try returns or raises")
