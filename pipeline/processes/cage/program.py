"""Executes a program in the cage: `python -P -m <this module> MODE PROGRAM ARGUMENT…` becomes the program.

For engines that are separate programs. Everything else is the caller's task.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from quire.processes.cage import CageMode, close_cage

REFUSED = 119
"""The exit status where the cage must be whole and is not; standard error says what is missing."""
NOT_RUN = 118
"""The exit status where the program cannot be executed; standard error says why."""


def command(mode: CageMode, program: str, arguments: Sequence[str]) -> list[str]:
    """What to start instead of the program, an absolute path, with its arguments."""
    if mode == "off":
        return [program, *arguments]
    # -P: no code of the current folder.
    return [sys.executable, "-P", "-m", __name__, mode, program, *arguments]


def _main(mode: str, program: str, *arguments: str) -> None:
    data = [folder for folder in [os.environ.get("TESSDATA_PREFIX")] if folder]
    missing = close_cage(data, program)
    if missing and mode == "require":
        print("; ".join(missing), file=sys.stderr)
        sys.exit(REFUSED)
    try:
        os.execv(program, [program, *arguments])
    except OSError as exc:
        print(exc, file=sys.stderr)
        sys.exit(NOT_RUN)


if __name__ == "__main__":
    _main(*sys.argv[1:])
