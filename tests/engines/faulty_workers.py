"""Targets for the OCR engine's children that fail as native code does. A file named after the parent tells one
life of a child from the next."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from quire.records import Pixels

_REPLY = {
    "num_boxes": 1,
    "legible_share": 1.0,
    "blocks": [{"label": "text", "text": "survived", "box": [0, 0, 1, 1]}],
    "lines": ["survived"],
    "scores": [0.9],
}


def trace_of(parent_pid: int) -> Path:
    return Path(tempfile.gettempdir(), f"quire-test-died-once-{parent_pid}")


class DiesOnce:
    def __init__(self, settings: dict[str, Any], arena: Pixels) -> None: ...

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        trace = trace_of(os.getppid())
        if not trace.exists():
            trace.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return _REPLY


class DiesAlways:
    def __init__(self, settings: dict[str, Any], arena: Pixels) -> None: ...

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return _REPLY


class Hangs:
    """On pages wider than high, sleeps on those of one row, was stopped on those of two; others are read."""

    def __init__(self, settings: dict[str, Any], arena: Pixels) -> None: ...

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["height_px"] == 1:
            time.sleep(1000)
        if request["height_px"] == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        while request["width_px"] > request["height_px"]:
            pass
        return _REPLY


class Lies:
    def __init__(self, settings: dict[str, Any], arena: Pixels) -> None: ...

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"blocks": [{"label": "text"}], "lines": 3}


class NeverStarts:
    def __init__(self, settings: dict[str, Any], arena: Pixels) -> None:
        raise RuntimeError("no model")

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        return _REPLY
