"""What a test that hangs waits for is told: the line of each coroutine, and each child process."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.hangs import what_it_waits_for
from tests.waiting import wait_for

_ROOT = Path(__file__).resolve().parents[1]


async def stuck(never: asyncio.Event) -> None:
    await never.wait()


async def test_coroutines_and_children_are_told_with_their_places() -> None:
    task = asyncio.create_task(stuck(asyncio.Event()))
    await asyncio.sleep(0)
    with subprocess.Popen([sys.executable, "-c", "input()  # a child that waits"], stdin=subprocess.PIPE):
        told = what_it_waits_for("a test", _ROOT)
    task.cancel()
    assert "1 x stuck (tests/test_hangs.py:" in told and "Event.wait" in told
    assert "a child that waits" in told


def test_a_test_that_hangs_shows_where_although_its_output_is_captured(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests import hangs\n\npytest_plugins = ['tests.hangs']\nhangs.SHOWN_AFTER_S = 3\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import asyncio\n\n\nasync def test_never():\n    await asyncio.Event().wait()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "--rootdir", str(tmp_path), "."]
    with (tmp_path / "errors").open("wb") as errors:
        hanging = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )

    def told() -> str:
        return (tmp_path / "errors").read_text()

    try:
        wait_for("the test to be shown", lambda: "test_it.py::test_never has been at it" in told(), saw=told)
        wait_for("its place", lambda: "test_never (test_it.py:5) > Event.wait" in told(), saw=told)
    finally:
        hanging.kill()
        hanging.wait(60)
