"""How a command's process ends: at once, whatever it waits for.

Python handles signals only between its own instructions, so a main thread that waits in native code, as a store's
client does, does not react to them. At exit, asyncio and the interpreter also join threads, which may wait for minutes.
So each way to end has a time limit here. Nothing is lost by that: commits are atomic.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from quire.jobs.exit_codes import EXIT_ERROR, EXIT_INTERRUPTED

T = TypeVar("T")

_GRACE_S = 1.5  # from the signal to the end
_PATIENCE_S = 10.0  # for writes in progress when a command ends by itself


def run_process(main: Callable[[], None], last_words: str) -> None:
    """Run `main`, which ends in SystemExit, and end the process with it. After Ctrl-C or SIGTERM `main` has `_GRACE_S`
    to return; then the process prints `last_words` and ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # written even while the main thread is blocked
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # or a child's signals would be ours
    heed_sigterm()
    has_ended = threading.Event()
    threading.Thread(target=_await_signal, args=(reader, has_ended, last_words), daemon=True).start()
    exit_code = EXIT_ERROR
    try:
        main()
    except SystemExit as ended:
        exit_code = ended.code if isinstance(ended.code, int) else 0
        raise
    finally:
        has_ended.set()
        threading.Thread(target=_end, args=(exit_code, _PATIENCE_S), daemon=True).start()


def heed_sigterm() -> None:
    """Treat a scheduler's SIGTERM as Ctrl-C. Call it again after libraries that install their own handlers."""
    signal.signal(signal.SIGTERM, _as_ctrl_c)


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, but without waiting for threads that still run."""

    async def main() -> T:
        asyncio.get_running_loop().set_default_executor(_UnawaitedThreads())
        return await work

    return asyncio.run(main())


class _UnawaitedThreads(ThreadPoolExecutor):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


def _as_ctrl_c(signal_number: int, frame: Any) -> None:
    """Do what Ctrl-C does at the moment: asyncio installs a handler of its own. A shell's background jobs ignore
    Ctrl-C, so its handler may not be callable."""
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)


def _await_signal(reader: int, has_ended: threading.Event, last_words: str) -> None:
    while os.read(reader, 1)[0] not in (signal.SIGINT, signal.SIGTERM):
        pass
    if not has_ended.wait(_GRACE_S):
        os.write(sys.stderr.fileno(), f"\n{last_words}\n".encode())
        _end(EXIT_INTERRUPTED, 0)
    _end(EXIT_INTERRUPTED, _GRACE_S)


def _end(exit_code: int, seconds: float) -> None:
    """After `seconds`, end the process if it still runs. Its children die with it, except those of
    multiprocessing, which are killed here."""
    time.sleep(seconds)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(exit_code)
