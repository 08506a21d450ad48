"""A test process that crashes says where, at the end of the report: xdist alone names the test and nothing else.

A plugin of pytest and of pytest-xdist. Each worker process writes the stacks of its threads to a file of its own when a
fatal signal comes; the process that reports shows what it finds. A process that was killed, or that ended itself
without a signal, leaves an empty file, and that is said.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

_FOLDER = pytest.StashKey[Path]()  # of all workers, in the process that reports
_CRASHED = pytest.StashKey[list[str]]()
_FILE = pytest.StashKey[int]()  # of a worker


@pytest.hookimpl(trylast=True)  # after pytest's own faulthandler, whose place it takes
def pytest_configure(config: pytest.Config) -> None:
    if worker := getattr(config, "workerinput", None):
        path = Path(worker["crashes"]) / worker["workerid"]
        config.stash[_FILE] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        faulthandler.enable(config.stash[_FILE])
    else:
        config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="crashes-"))
        config.stash[_CRASHED] = []


def pytest_unconfigure(config: pytest.Config) -> None:
    if _FILE in config.stash:
        faulthandler.disable()
        os.close(config.stash[_FILE])
    else:
        shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["crashes"] = str(node.config.stash[_FOLDER])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if error:
        node.config.stash[_CRASHED].append(node.workerinput["workerid"])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for worker in config.stash[_CRASHED]:
        terminalreporter.section(f"where {worker} crashed")
        path = config.stash[_FOLDER] / worker  # not there if it ended before it began
        stacks = path.read_text(errors="replace") if path.exists() else ""
        terminalreporter.write_line(stacks or "No fatal signal came: it was killed, or ended itself.")
