"""Which tests run in one process, one after the other, and what begins first where several processes share the work.

A pytest plugin. The tests of a module stay together, since they share what is dear to start: a cluster, an engine, a
gateway. What takes longest begins first, or it would be waited for at the end. No test relies on either.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_LONGEST_FIRST = (
    "deepseek_vllm",
    "test_ray_flow",
    "test_vllm_engine",
    "test_kills",
    "test_submit",
    "test_vllm_on_ray",
    "test_rapidocr_engine",
    "test_corpus",
    "test_engine_bench",
    "test_doctor_with_vllm",
    "test_radosgw",
    "test_vllm_serve",
    "test_metrics_on_ray",
    "test_sandbox",
    "test_cli",
    "test_gate",
)


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.xdist_group(_group(item.path)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        items.sort(key=lambda item: _rank(_group(item.path)))


def _group(path: Path) -> str:
    """The module, or the folder whose modules share an engine in their own process."""
    if path.parent.name == "deepseek_vllm":
        return path.parent.name
    return path.stem if path.stem in _LONGEST_FIRST else str(path)


def _rank(group: str) -> int:
    return _LONGEST_FIRST.index(group) if group in _LONGEST_FIRST else len(_LONGEST_FIRST)
