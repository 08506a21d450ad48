"""The first moment of the command `quire`: until its modules are imported, Ctrl-C ends the process in one line.

Imports nothing that takes time: an interrupt during an import gives a traceback or, worse, looks like a missing
package.
"""

import os
import signal
from types import FrameType

from quire.jobs.exit_codes import EXIT_INTERRUPTED


def process() -> None:
    """Entry point: `quire` as a process of its own."""
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so in a shell's background
    if is_heeded:
        signal.signal(signal.SIGINT, _end)
    from quire.jobs.cli import process

    if is_heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process()


def _end(signal_number: int, frame: FrameType | None) -> None:
    """Nothing has begun that could be left half done."""
    os.write(2, b"\nquire: interrupted before it began\n")
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    process()
