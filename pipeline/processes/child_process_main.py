"""What runs in a child process: its limits, its cage, and the loop that hands requests to the target.

Separate from the parent's side, `child_process.py`: a run starts many children, and they need not import what only the
parent uses.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import mmap
import os
import resource
import signal
import socket
import sys
from typing import Any, Protocol

import numpy as np

from quire.processes.cage import close_cage, code_folders
from quire.records import Pixels

Json = dict[str, Any]


class Target(Protocol):
    def handle(self, request: Json) -> Json: ...


def map_arena(fd: int, size: int) -> Pixels:
    """Shared memory as bytes."""
    return np.frombuffer(mmap.mmap(fd, size), dtype=np.uint8)


def _die_with_parent(parent_pid: int) -> None:
    """Ask Linux for SIGKILL when the parent ends; elsewhere the closed socket ends an idle child."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def _limit(memory_bytes: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))  # stderr and scratch files, no more
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _serve(connection: socket.socket, files: socket.socket, arena: Pixels) -> None:
    stream = connection.makefile("rwb")
    hello = json.loads(stream.readline())
    _die_with_parent(hello["parent_pid"])
    module_name, _, class_name = hello["target"].partition(":")
    make: Any = getattr(importlib.import_module(module_name), class_name)
    _limit(hello["memory_bytes"])
    target: Target = make(hello["settings"], arena)
    missing = close_cage(code_folders()) if hello["cage"] != "off" else ()
    reply: Json = {"ready": True, "missing_of_cage": missing}
    while True:
        stream.write(json.dumps(reply).encode() + b"\n")
        stream.flush()
        line = stream.readline()
        if not line:
            return
        request = json.loads(line)
        if "fd" in request:  # the parent's number; here it has another one
            request["fd"] = socket.recv_fds(files, 1, 1)[1][0]
        reply = target.handle(request)


def _main() -> None:
    connection_fd, files_fd, arena_fd, arena_bytes = (int(argument) for argument in sys.argv[1:5])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection, files = socket.socket(fileno=connection_fd), socket.socket(fileno=files_fd)
    _serve(connection, files, map_arena(arena_fd, arena_bytes))


if __name__ == "__main__":
    _main()
