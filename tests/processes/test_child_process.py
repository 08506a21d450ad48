"""What a child process gets from its parent, and what it cannot do to it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quire.processes import child_process
from quire.processes.child_process import ChildDied, ChildProcess
from tests.taken_over import ask
from tests.waiting import BOUND_S, wait_for

TAKEN_OVER = "tests.taken_over:TakenOver"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def child() -> AsyncIterator[ChildProcess]:
    """One that a document has taken over; the parent's environment has a secret."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
        started = ChildProcess(TAKEN_OVER, {}, arena_bytes=1 << 20)
        await started.start()
    yield started
    started.close()


async def test_a_child_gets_no_home_and_no_credentials(child: ChildProcess) -> None:
    environment = (await child.call(ask("environment"), 60))["answer"]
    assert "a secret" not in environment.values()
    assert environment["HOME"] == "/nonexistent"
    assert not Path(environment["HOME"]).exists()
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"


async def test_the_arena_keeps_its_size_even_without_a_cage() -> None:
    """A parent that reads shared memory which has been cut off dies of it."""
    child = ChildProcess(TAKEN_OVER, {}, arena_bytes=1 << 20, cage="off")
    try:
        await child.start()
        for attempt in ("shrink_arena", "grow_arena", "unseal_arena"):
            assert "PermissionError" in (await child.call(ask(attempt), 60))["error"], attempt
        assert int(child.arena.sum()) == 0
    finally:
        child.close()


async def test_code_of_the_current_folder_does_not_run_in_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/__init__.py").write_text("raise SystemExit('code of the current folder ran')")
    monkeypatch.chdir(tmp_path)
    started = ChildProcess(TAKEN_OVER, {}, arena_bytes=1 << 20)
    try:
        await started.start()
        assert str(tmp_path) not in (await started.call(ask("path"), 60))["answer"]
    finally:
        started.close()


async def test_a_process_that_cannot_be_started_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def sockets() -> set[str]:
        paths = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        return {
            link for path in paths if os.path.lexists(path) and (link := os.readlink(path)).startswith("socket:")
        }

    before = sockets()
    monkeypatch.setattr(subprocess, "Popen", no_room)
    started = ChildProcess(TAKEN_OVER, {}, arena_bytes=1 << 20)
    with pytest.raises(OSError, match="temporarily unavailable"):
        await started.start()
    started.close()
    assert sockets() == before


async def test_a_child_that_hangs_up_has_time_to_end_as_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """It closes its socket and is dead a moment later. How it died must not depend on who is faster."""
    monkeypatch.setattr(child_process, "_END_S", BOUND_S)
    child = ChildProcess(TAKEN_OVER, {}, arena_bytes=1 << 20, cage="off")

    def end_it() -> None:
        wait_for("the parent to see that it hung up", lambda: child._reader is None)
        assert child._process is not None
        child._process.send_signal(signal.SIGSEGV)

    try:
        await child.start()
        ending = asyncio.create_task(asyncio.to_thread(end_it))
        with pytest.raises(ChildDied, match="killed by SIGSEGV"):
            await child.call(ask("hang_up"), 60)
        await ending
    finally:
        child.close()


async def test_a_child_that_takes_no_files_holds_nobody_up() -> None:
    """Once the socket is full of what it was handed, the parent would wait in a system call for ever."""
    child = ChildProcess(TAKEN_OVER, {}, arena_bytes=1 << 20)
    try:
        await child.start()
        await child.call(ask("answer_and_take_no_files"), 60)
        with open(os.devnull) as file, pytest.raises(ChildDied) as caught:
            while True:
                await child.call({"fd": file.fileno()}, 60)
        assert isinstance(caught.value.__cause__, BlockingIOError)
        assert not child.is_running
    finally:
        child.close()
