"""Tasks that run beside the work and that nobody awaits, such as meters. If one fails, this is logged: asyncio would
report it only when the task is garbage-collected, or never."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


def run_beside(what: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start it. The caller keeps the task, or it may be garbage-collected, and cancels it in the end. `what` names it
    in the log."""
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(lambda ended: _tell(what, ended))
    return task


def _tell(what: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s stopped; the run goes on without: %r", what, error, exc_info=error)
