"""Which tests run in one process, one after the other, and what begins first where several processes share the work.

A plugin of pytest and of pytest-xdist. The tests of a module stay together, since they share what is dear to start: a
cluster, an engine, a gateway. What takes longest begins first, or it would be waited for at the end. No test relies on
either.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_USES_VLLM = {"deepseek_vllm", "test_vllm_engine", "test_doctor_with_vllm"}
_LONGEST_FIRST = (
    "vllm",
    "test_ray_flow",
    "test_kills",
    "test_submit",
    "test_vllm_on_ray",
    "test_rapidocr_engine",
    "test_corpus",
    "test_radosgw",
    "test_vllm_serve",
    "test_metrics_on_ray",
    "test_sandbox",
    "test_cli",
    "test_gate",
)


class GroupScheduling(LoadScopeScheduling):
    """Gives out whole groups. The groups of xdist 3.8 do not reach it under pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    return GroupScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_one_of_several = hasattr(config, "workerinput")
    if is_one_of_several and not config.getoption("random_order_enabled", False):
        items.sort(key=lambda item: _rank(_group(item.nodeid)))


def _group(nodeid: str) -> str:
    """The module; those whose own process imports vLLM, at a quarter of a minute of CPU, are one group."""
    module = PurePath(nodeid.partition("::")[0])
    if _USES_VLLM & {module.stem, module.parent.name}:
        return "vllm"
    return str(module)


def _rank(group: str) -> int:
    name = PurePath(group).stem
    return _LONGEST_FIRST.index(name) if name in _LONGEST_FIRST else len(_LONGEST_FIRST)
