"""What a child process gets from its parent, and what it cannot do to it."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipeline.child_process import ChildProcess
from tests.taken_over import ask

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
