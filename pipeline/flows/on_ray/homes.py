"""Which node renders which document: always the same one while it has room. So a document of many chunks is fetched and
hashed once, not on every node.

Knows nothing else of the nodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_SECONDS_BETWEEN_LOOKS = 30.0


class Homes:
    """The nodes of the cluster that have CPUs, looked up now and then."""

    def __init__(self) -> None:
        self._nodes: list[str] = []
        self._next_look_s = 0.0

    async def strategy(self, doc_id: str) -> Any:
        """Where Ray is to run a task of this document: on its home node, or on any node if that is busy or gone."""
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            with suppress(RayError):  # the head node is away for a moment: keep the known nodes
                self._nodes = _with_cpus(await asyncio.to_thread(ray.nodes))
        if len(self._nodes) < 2:
            return "DEFAULT"
        # Ray's public `soft` alone waits for room on the home: a large document would get only one node's CPUs.
        return NodeAffinitySchedulingStrategy(home(doc_id, self._nodes), soft=True, _spill_on_unavailable=True)


def home(doc_id: str, nodes: Iterable[str]) -> str:
    """The same for all callers. A node that joins or leaves moves few documents (rendezvous hashing)."""
    return max(nodes, key=lambda node: hashlib.sha256(f"{node} {doc_id}".encode()).digest())


def _with_cpus(nodes: Iterable[dict[str, Any]]) -> list[str]:
    return [node["NodeID"] for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
