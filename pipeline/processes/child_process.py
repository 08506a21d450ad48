"""A child process that does one piece of work at a time, under limits, and can be killed.

Everything that parses hostile bytes or runs native code at length runs in one of these: rendering, probing,
CPU OCR. A hung native call holds the interpreter lock, so no signal handler and no timer inside the process
can stop it; the parent watches its CPU time and kills. The child is told to die with its parent, so a killed
driver leaves nothing behind. What runs inside is `child_process_main.py`.

Requests and replies are lines of JSON on a socket; pixels lie in an arena, shared memory that both sides map; the file
of a request is handed over open, through a second socket, so that the child need not be able to open files. Replies are
JSON and not pickles because the child may have been taken over by the document it reads; for the same reason the arena
is sealed: a child that shrank it would kill the parent, which reads it. Of the parent's environment the child gets only
what it needs to start: no credentials, no home. When its target is constructed, it closes a cage around itself, see
`pipeline/processes/cage`.

This module does not know what the work is: `target` names a class, "module:Class", that takes
`(settings, arena)` and has `handle(request) -> reply`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import json
import logging
import os
import signal
import site
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from quire.errors import QuireError
from quire.processes.cage import CageMode, hide_this_process
from quire.processes.child_process_main import Json, map_arena
from quire.processes.cpu_limit import STUCK_AFTER_S, OverLimit, Starved, within_cpu

_log = logging.getLogger(__name__)

_LINE_LIMIT = 64 << 20
_START_CPU_S = 60.0
_END_S = 0.5  # for a child to end after it has closed its socket
_PASSED_ON = ("LANG", "LC_ALL", "LD_LIBRARY_PATH")
_ENVIRONMENT = {
    "HOME": "/nonexistent",  # Debian's home of `nobody`: never exists
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime's; read when it is imported, by whatever library
    "DO_NOT_TRACK": "1",
}


class ChildDied(Exception):
    """The child ended while it worked; the message says how (signal or exit status) and its last words."""


class ChildProcess:
    """One child. `call` is not reentrant: the caller gives it one request at a time.

    `memory_bytes` limits the child's private memory (`RLIMIT_DATA`, so that shared memory and mapped files do not
    count); native code sees a failed allocation and handles it in its own way. `stuck_after_s` is how long a child may
    use no CPU before it is given up; see `cpu_limit.py`. After `start`, `missing_of_cage` says in words which parts of
    the cage this machine lacks.
    """

    def __init__(
        self,
        target: str,
        settings: Json,
        *,
        arena_bytes: int,
        memory_bytes: int | None = None,
        stuck_after_s: float = STUCK_AFTER_S,
        cage: CageMode = "best",
    ) -> None:
        self._target = target
        self._settings = settings
        self._memory_bytes = memory_bytes
        self._stuck_after_s = stuck_after_s
        self._cage = cage
        self.missing_of_cage: tuple[str, ...] = ()
        self._arena_fd = _make_arena(arena_bytes)
        self.arena = map_arena(self._arena_fd, arena_bytes)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._files: socket.socket | None = None
        self._last_words: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def resident_bytes(self) -> int:
        """Memory that the running child holds, as the kernel counts it; 0 where it has ended."""
        with contextlib.suppress(OSError):
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    async def start(self) -> None:
        """Start the child and wait until its target is constructed. Raises what `call` raises, and `QuireError` if the
        cage must be whole and is not."""
        if self._cage != "off":
            hide_this_process()
        if self._last_words is not None:
            self._last_words.close()
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        ours, theirs = socket.socketpair()
        self._files, their_files = socket.socketpair()
        self._files.setblocking(False)  # a taken-over child that accepts no files would block this process
        with theirs, their_files:
            try:
                self._process = self._start_process((theirs.fileno(), their_files.fileno(), self._arena_fd))
            except BaseException:
                ours.close()
                raise
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=_LINE_LIMIT)
        hello = {
            "target": self._target,
            "settings": self._settings,
            "memory_bytes": self._memory_bytes,
            "parent_pid": os.getpid(),
            "cage": self._cage,
        }
        ready = await self.call(hello, cpu_s=_START_CPU_S)
        self.missing_of_cage = tuple(ready["missing_of_cage"])
        if self.missing_of_cage:
            try:
                check_cage(self._cage, self.missing_of_cage)
            except QuireError:
                self.kill()  # or the next caller would find it running
                raise

    async def call(self, request: Json, cpu_s: float) -> Json:
        """Send one request and wait for its reply; the child may use `cpu_s` seconds of CPU. `fd` in a request is an
        open file of this process; the child gets its own descriptor of it. Raises `ChildDied`, `OverLimit` or
        `Starved`; the child is gone then."""
        if self._process is None or self._files is None or self._reader is None or self._writer is None:
            raise ChildDied("the child process was never started")
        try:
            if "fd" in request:
                socket.send_fds(self._files, [b"f"], [request["fd"]])
            self._writer.write(json.dumps(request).encode() + b"\n")
            reply_line = self._reader.readline()
            line = await within_cpu(reply_line, self._process.pid, cpu_s, self._stuck_after_s)
        except (OverLimit, Starved, asyncio.CancelledError):
            self.kill()  # a late reply would be read as the answer to the next request
            raise
        except (OSError, ValueError) as exc:
            raise ChildDied(self._obituary()) from exc
        if not line.endswith(b"\n"):
            raise ChildDied(self._obituary())
        reply: Json = json.loads(line)
        return reply

    def kill(self) -> None:
        """End the child at once, whatever it is doing, and reap it. Safe to call twice."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._writer is not None:
            with contextlib.suppress(RuntimeError):  # the event loop may be closed already
                self._writer.close()
        if self._files is not None:
            self._files.close()
        self._reader = self._writer = self._files = None

    def close(self) -> None:
        """Kill the child and give back the shared memory once no array points into it."""
        self.kill()
        if self._last_words is not None:
            self._last_words.close()
            self._last_words = None
        if self._arena_fd >= 0:
            os.close(self._arena_fd)
            self._arena_fd = -1

    def _start_process(self, fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
        # -P: Python would otherwise look into the current folder first, and run what lies there.
        command = [sys.executable, "-P", "-m", "quire.processes.child_process_main"]
        command += [*map(str, fds), str(self.arena.size)]
        return subprocess.Popen(
            command,
            pass_fds=fds,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._last_words,
        )

    def _obituary(self) -> str:
        process, self._reader = self._process, None
        if process is None:
            return "the child process was never started"
        with contextlib.suppress(subprocess.TimeoutExpired):  # or the exit status might not be there yet
            process.wait(_END_S)
        process.kill()
        status = process.wait()
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        words = ""
        if self._last_words is not None:
            size = self._last_words.seek(0, os.SEEK_END)
            self._last_words.seek(max(0, size - 500))
            words = self._last_words.read().decode(errors="replace").strip()
        return f"{how}; last words: {words}" if words else how


def check_cage(mode: CageMode, missing: tuple[str, ...]) -> None:
    """Act on missing parts of the cage, as `mode` says: raise `QuireError`, or warn once."""
    words = "; ".join(missing)
    if mode == "require":
        raise QuireError(
            f"the cage of processes that read documents is not whole here: {words}. Mend that, or take what there is "
            "with render.sandbox=best"
        )
    _warn_once(f"the cage of processes that read documents is not whole here: {words} (see SECURITY.md)")


@functools.cache
def _warn_once(words: str) -> None:
    _log.warning("%s", words)


def _make_arena(num_bytes: int) -> int:
    """Shared memory of a sealed, fixed size, as a descriptor."""
    fd = os.memfd_create("quire-arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, num_bytes)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def child_environment() -> dict[str, str]:
    """What a child gets of the environment."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # The package may come from a source tree or the user's own packages, which only the parent knows.
    kept["PYTHONPATH"] = os.pathsep.join(folder for folder in sys.path if folder)
    kept["PYTHONUSERBASE"] = site.getuserbase()
    return {**kept, **_ENVIRONMENT}
