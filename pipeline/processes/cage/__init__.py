"""The cage: what a child process can still do after the document that it reads has taken it over.

The child closes it itself, after its libraries are loaded and before it sees a byte of a document. It is never opened
again. Two walls of the kernel, which hold for root, too:

    files.py         Landlock: reads code, libraries and fonts; writes nothing; signals and traces nobody outside
    system_calls.py  seccomp: no sockets, programs, processes, signals to others or files to write, nor anything unknown

What a child was given open stays open: its end of a socket, its arena, the current document, a file for its last
messages. A wall that this machine lacks is reported and left out. What the cage is not: see SECURITY.md.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from typing import Literal

from quire.processes.cage import files, system_calls

CageMode = Literal["require", "best", "off"]
"""In order: no child without both walls; the walls that there are; no walls."""

_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/sys/devices/system/cpu")
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38


def close_cage(readable: Iterable[str], program: str = "") -> tuple[str, ...]:
    """Close the cage around this process, for good. `readable`: files and folders that it may read beside the system's
    own programs, libraries and fonts. With a `program`, this process may become that program or one of the system's.

    Returns the missing parts of the cage in words; none if it is whole.
    """
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # both walls require it
    libraries = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    runnable = (*_SYSTEM, program) if program else ()
    missing = []
    if len(os.listdir("/proc/self/task")) > 1:
        missing.append("Landlock does not hold the threads that had started before, as OpenVINO's have")
    try:
        files.allow_only(readable=(*_SYSTEM, *libraries, *readable), runnable=runnable)
    except OSError as exc:
        missing.append(f"no Landlock ({exc.strerror}): Linux 5.13 has it, unless it or the container forbids it")
    try:
        system_calls.allow_only(is_to_execute=bool(program))
    except OSError as exc:
        why = exc.strerror or exc
        missing.append(f"no seccomp filter ({why}): it needs libseccomp2, and a container that allows it")
    return tuple(missing)


def code_folders() -> set[str]:
    """What Python may still have to read: its library, what is installed, and packages that are imported in part."""
    packages = [module for name, module in list(sys.modules.items()) if "." not in name]
    imported = {folder for package in packages for folder in getattr(package, "__path__", ())}
    installed = {folder for folder in sys.path if os.path.basename(folder) in ("site-packages", "dist-packages")}
    return {sys.prefix, sys.base_prefix, *installed, *imported}


def hide_this_process() -> None:
    """From now on no process of the same user can read this one's environment and memory, or trace it. It leaves no
    core dump either. For the parents of caged children. Children that run as root are held back by the cage alone."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
