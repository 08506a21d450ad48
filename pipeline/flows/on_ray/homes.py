"""Which node renders which document: the same one each time, while it has room, so that a document of many chunks is
fetched and hashed once and not on every node.

Knows nothing of what the nodes do otherwise.
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
        """How Ray is to place a task of this document: at its home, or anywhere if that is busy or gone."""
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            with suppress(RayError):  # a head that is away for a moment; the nodes are as they were
                self._nodes = _with_cpus(await asyncio.to_thread(ray.nodes))
        if len(self._nodes) < 2:
            return "DEFAULT"
        # A public `soft` alone waits for room at the home, and a large document would have one node's CPUs.
        return NodeAffinitySchedulingStrategy(home(doc_id, self._nodes), soft=True, _spill_on_unavailable=True)


def home(doc_id: str, nodes: Iterable[str]) -> str:
    """The same for all who ask. A node that joins or goes moves few documents (rendezvous hashing)."""
    return max(nodes, key=lambda node: hashlib.sha256(f"{node} {doc_id}".encode()).digest())


def _with_cpus(nodes: Iterable[dict[str, Any]]) -> list[str]:
    return [node["NodeID"] for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
