"""How a command's process ends: at once, whatever it waits for.

Signals reach Python code only: a main thread that waits in native code, as a store's client does, hears none. And both
asyncio and the interpreter join threads at their end that may wait for minutes. So each end has a time limit here.
Nothing is lost by that: what is committed is whole, and what is not was never there.
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
_PATIENCE_S = 10.0  # for what is being written when a command ends of itself


def run_process(main: Callable[[], None], last_words: str) -> None:
    """Run `main`, which ends in SystemExit, and end the process with it. After Ctrl-C or SIGTERM it has a moment; then
    the process ends without it, and says `last_words`."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # is written to whatever the main thread does
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
    """Take a scheduler's SIGTERM for Ctrl-C. Libraries that install handlers of their own make this be called again."""
    signal.signal(signal.SIGTERM, _as_ctrl_c)


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, which does not wait for threads that go on."""

    async def main() -> T:
        asyncio.get_running_loop().set_default_executor(_UnawaitedThreads())
        return await work

    return asyncio.run(main())


class _UnawaitedThreads(ThreadPoolExecutor):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


def _as_ctrl_c(signal_number: int, frame: Any) -> None:
    """Whatever Ctrl-C does now: asyncio has its own way. A shell's background jobs are told to ignore that."""
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
    """End the process if it is still there so much later, and what it started: that dies with us, but for those that
    nobody told to."""
    time.sleep(seconds)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(exit_code)
