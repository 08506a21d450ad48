"""Every way out of the cage that we could think of, tried by a child that was taken over, as root and as a plain user.

The same attempts succeed without the cage where they can, so that none of them fails for another reason.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from quire.engines.cpu.tesseract_engine import TesseractEngine
from quire.errors import QuireError
from quire.processes.cage import CageMode, program
from quire.processes.child_process import ChildProcess
from quire.records import Request
from tests.engines.drawing import as_page
from tests.taken_over import ask
from tests.waiting import BOUND_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

IS_ROOT = os.geteuid() == 0


@contextlib.asynccontextmanager
async def started(cage: CageMode, is_nobody: bool = False) -> AsyncGenerator[ChildProcess]:
    settings = {"is_nobody": is_nobody}
    child = ChildProcess("tests.taken_over:TakenOver", settings, arena_bytes=1 << 20, cage=cage)
    try:
        await child.start()
        yield child
    finally:
        child.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def free() -> AsyncIterator[ChildProcess]:
    async with started("off") as child:
        yield child


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        False,
        pytest.param(True, marks=pytest.mark.skipif(not IS_ROOT, reason="who runs this is a plain user")),
    ],
    ids=["as who runs this", "as nobody"],
)
async def caged(request: pytest.FixtureRequest) -> AsyncIterator[ChildProcess]:
    """The machine that runs the tests has all of the cage, or this fails."""
    async with started("require", request.param) as child:
        yield child


@pytest.fixture(scope="module")
def secret() -> Iterator[Path]:
    """A file that everybody may read and write, as far as its owner is asked."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        path = Path(folder, "credentials")
        path.write_text("aws_secret_access_key=SECRET")
        path.chmod(0o666)
        yield path


FILES = [
    ask("read_file", path="{secret}"),
    ask("list_folder", path="{folder}"),
    ask("write_file", path="{secret}"),
    ask("write_file", path="{folder}/new"),
    ask("write_file", path="/dev/shm/quire-test-escape"),
    ask("change_mode", path="{secret}"),
    ask("read_file", path="/etc/passwd"),
    ask("read_file", path="/proc/self/environ"),
    ask("delete_file", path="{secret}"),
]
NETWORK = [
    ask("connect", port=0),
    ask("make_socket", family=socket.AF_INET, kind=socket.SOCK_DGRAM),
    ask("make_socket", family=socket.AF_INET6, kind=socket.SOCK_STREAM),
    ask("make_socket", family=socket.AF_UNIX, kind=socket.SOCK_STREAM),
    ask("make_socket", family=socket.AF_NETLINK, kind=socket.SOCK_RAW),
    ask("make_socket_pair"),
]
PROCESSES = [
    ask("run_program"),
    ask("fork"),
    ask("signal_parent"),
    ask("signal_group"),
    ask("signal_parent_by_file"),
    ask("outlive_parent"),
]
LIMITS = [ask("map_shared_memory"), ask("make_memory_file")]
ONLY_CAGED = [  # what a machine may forbid anyhow
    ask("read_parent_environment"),
    ask("open_parent_memory"),
    ask("read_parent_memory"),
    ask("raise_memory_limit"),
    ask("read_file", path="/root/.ssh/id_rsa"),
    ask("read_file", path="/dev/mem"),
    ask("reopen_for_writing", fd=0),
    *(ask("call_system", number=number) for number in (425, 321, 298, 323, 434, 101, 165, 272)),
]
"""The numbers: io_uring_setup, bpf, perf_event_open, userfaultfd, pidfd_open, ptrace, mount, unshare, as x86-64 has
them."""


def _name(request: Any) -> str:
    return " ".join([request["do"], *map(str, request["with"].values())])


@pytest.fixture
def filled(secret: Path) -> Any:
    """Puts the real paths and a port that listens into a request."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def fill(request: Any) -> Any:
            words = {"secret": secret, "folder": secret.parent}
            arguments = {
                name: value.format(**words) if isinstance(value, str) else value
                for name, value in request["with"].items()
            }
            if "port" in arguments:
                arguments["port"] = server.getsockname()[1]
            return {**request, "with": arguments}

        yield fill


@pytest.mark.parametrize("request_", [*FILES, *NETWORK, *PROCESSES, *LIMITS, *ONLY_CAGED], ids=_name)
async def test_there_is_no_way_out(caged: ChildProcess, secret: Path, filled: Any, request_: Any) -> None:
    reply = await caged.call(filled(request_), 60)
    assert "error" in reply, reply
    assert secret.read_text() == "aws_secret_access_key=SECRET"
    assert {path.name for path in secret.parent.iterdir()} == {secret.name}


@pytest.mark.parametrize("request_", [*FILES, *NETWORK, *PROCESSES, *LIMITS], ids=_name)
async def test_without_the_cage_there_is(free: ChildProcess, secret: Path, filled: Any, request_: Any) -> None:
    try:
        assert "answer" in await free.call(filled(request_), 60)
    finally:
        secret.write_text("aws_secret_access_key=SECRET")
        secret.chmod(0o666)
        (secret.parent / "new").unlink(missing_ok=True)
        Path("/dev/shm/quire-test-escape").unlink(missing_ok=True)


async def test_threads_and_files_that_are_handed_over_work(caged: ChildProcess, secret: Path) -> None:
    assert await caged.call(ask("run_thread"), 60) == {"answer": True}
    with secret.open() as file:
        reply = await caged.call({"do": "read_handed_over", "with": {}, "fd": file.fileno()}, 60)
    assert reply == {"answer": secret.read_text()}


@pytest.fixture
def no_seccomp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without libseccomp."""
    (tmp_path / "libseccomp.so.2").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))


@pytest.mark.usefixtures("no_seccomp")
async def test_what_is_there_of_the_cage_is_closed_and_what_is_not_is_said(
    secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with started("best") as child:
        assert len(child.missing_of_cage) == 1 and "no seccomp filter" in child.missing_of_cage[0]
        assert "SECURITY.md" in caplog.text
        assert "error" in await child.call(ask("read_file", path=str(secret)), 60)
        assert "answer" in await child.call(ask("fork"), 60)


@pytest.mark.usefixtures("no_seccomp")
async def test_a_cage_that_must_be_whole_and_is_not_starts_no_process() -> None:
    child = ChildProcess("tests.taken_over:TakenOver", {}, arena_bytes=1 << 20, cage="require")
    with pytest.raises(QuireError, match=r"not whole here: no seccomp filter.*render\.sandbox=best"):
        await child.start()
    assert not child.is_running
    child.close()


@pytest.mark.usefixtures("no_seccomp")
async def test_nor_a_program() -> None:
    engine = TesseractEngine(1, cage="require", executable="true")
    with pytest.raises(QuireError, match="no seccomp filter"):
        await engine.recognize(as_page(np.zeros((90, 90, 3), np.uint8)), Request("native"))
    await engine.close()


@pytest.mark.parametrize(
    ("script", "is_allowed"),
    [
        ("exit 0", True),
        (": < {secret}", False),
        (": > {folder}/new", False),
        ("/bin/true; exit $?", False),
        ("kill -CONT $PPID", False),
    ],
)
async def test_a_program_in_the_cage(tmp_path: Path, secret: Path, script: str, is_allowed: bool) -> None:
    """A shell that runs a script, where Tesseract would run."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{script.format(secret=secret, folder=secret.parent)}\n")
    path.chmod(0o755)
    for mode in ("off", "require"):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = program.command(mode, str(path), [])
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=BOUND_S)
        assert (done.returncode == 0) == (is_allowed or mode == "off"), done.stderr
        (secret.parent / "new").unlink(missing_ok=True)
