"""A task that nobody awaits tells why it stopped."""

from __future__ import annotations

import asyncio

import pytest

from quire.processes.background import run_beside


async def test_one_that_fails_is_logged_and_one_that_is_cancelled_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("no such gauge")

    async def wait() -> None:
        await asyncio.Event().wait()

    failing, waiting = run_beside("the meter", fail()), run_beside("the bar", wait())
    await asyncio.wait({failing})
    waiting.cancel()
    await asyncio.gather(failing, waiting, return_exceptions=True)
    assert [record.getMessage() for record in caplog.records] == [
        "the meter stopped; the run goes on without: RuntimeError('no such gauge')"
    ]
