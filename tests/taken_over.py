"""Targets of child processes that do what a document might make one do that it has taken over.

Each request names a method of `TakenOver` and its arguments; the reply is its `answer`, or the `error` that it met.
"""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401 - which a connection wants, and a plain user may not be able to read any more
import fcntl
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from quire.processes.child_process_main import Json
from quire.records import Pixels

NOBODY = 65534


class TakenOver:
    """`settings`: {"is_nobody": whether to become a plain user before the cage is closed}."""

    def __init__(self, settings: Json, arena: Pixels) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        if settings.get("is_nobody"):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)

    def handle(self, request: Json) -> Json:
        try:
            handed_over = {"fd": request["fd"]} if "fd" in request else {}
            return {"answer": getattr(self, request["do"])(**request["with"], **handed_over)}
        except (OSError, RuntimeError) as exc:  # RuntimeError: a thread that cannot be started
            return {"error": repr(exc)}

    # What it knows.

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def path(self) -> list[str]:
        return sys.path

    # What it must be able to do.

    def run_thread(self) -> bool:
        done = threading.Event()
        threading.Thread(target=done.set).start()
        return done.wait(60)

    def read_handed_over(self, fd: int) -> str:
        with open(fd) as file:
            return file.read()

    # What it may do, and its parent must bear.

    def hang_up(self) -> None:
        os.close(_connection_fd())
        signal.pause()

    def answer_and_take_no_files(self) -> None:
        while os.write(_connection_fd(), b'{"answer": "taken"}\n'):
            os.read(_connection_fd(), 1 << 16)

    # What it must not be able to do.

    def read_file(self, path: str) -> int:
        return len(Path(path).read_bytes())

    def list_folder(self, path: str) -> list[str]:
        return os.listdir(path)

    def write_file(self, path: str) -> int:
        return Path(path).write_text("forged")

    def delete_file(self, path: str) -> None:
        os.unlink(path)

    def change_mode(self, path: str) -> None:
        os.chmod(path, 0o777)

    def reopen_for_writing(self, fd: int) -> None:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR))

    def connect(self, port: int) -> None:
        socket.create_connection(("127.0.0.1", port), 10).close()

    def make_socket(self, family: int, kind: int) -> None:
        socket.socket(family, kind).close()

    def make_socket_pair(self) -> None:
        for end in socket.socketpair():
            end.close()

    def run_program(self) -> str:
        return subprocess.run(["/bin/echo", "out"], capture_output=True, text=True, timeout=60).stdout

    def fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        return os.waitpid(pid, 0)[1]

    def signal_parent(self) -> None:
        os.kill(os.getppid(), signal.SIGCONT)

    def signal_group(self) -> None:
        os.kill(0, signal.SIGCONT)

    def signal_parent_by_file(self) -> None:
        fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())

    def read_parent_environment(self) -> int:
        return len(Path(f"/proc/{os.getppid()}/environ").read_bytes())

    def open_parent_memory(self) -> None:
        os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY))

    def read_parent_memory(self) -> None:
        self.call_system(310, os.getppid(), 0, 0, 0, 0, 0)  # process_vm_readv

    def map_shared_memory(self) -> int:
        with mmap.mmap(-1, 1 << 20) as memory:
            return len(memory)

    def make_memory_file(self) -> None:
        os.close(os.memfd_create("hoard"))

    def raise_memory_limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def outlive_parent(self) -> None:
        if self._libc.prctl(1, 0, 0, 0, 0):  # PR_SET_PDEATHSIG
            raise OSError(ctypes.get_errno(), "prctl")

    def call_system(self, number: int, *arguments: int) -> int:
        result: int = self._libc.syscall(*map(ctypes.c_long, (number, *arguments)))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    def shrink_arena(self) -> None:
        os.ftruncate(_arena_fd(), 0)

    def grow_arena(self) -> None:
        os.ftruncate(_arena_fd(), 2 << 20)

    def unseal_arena(self) -> None:
        fcntl.fcntl(_arena_fd(), fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def _connection_fd() -> int:
    return int(sys.argv[1])


def _arena_fd() -> int:
    return int(sys.argv[3])


def ask(do: str, **arguments: Any) -> Json:
    """The request that makes `TakenOver` do this."""
    return {"do": do, "with": arguments}
