"""Ctrl-C and SIGTERM end every command within a moment, whatever it waits for; so does an error, whatever others wait
for."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quire.run.inputs import Inputs
from quire.run.plan import make_plan
from tests import documents
from tests.conftest import TestBucket
from tests.rigs.fault_proxy import fault_proxy
from tests.rigs.holding_proxy import Hold, holding_proxy
from tests.runs import SCRIPTED, command, heed_ctrl_c, scripted_settings, set_options
from tests.waiting import wait_for, wait_for_end

BOUND_S = 20.0  # for the end of all of them on a busy machine; the store would keep them for minutes
HOURS = 10_000.0


def started(*arguments: str) -> subprocess.Popen[str]:
    options = set_options(SCRIPTED) if arguments[0] in ("plan", "convert", "nightly") else []
    return subprocess.Popen(
        command(*arguments, *options), stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )


def assert_ended(process: subprocess.Popen[str], since_s: float) -> None:
    _, errors = wait_for_end(process, BOUND_S)
    assert process.returncode == 130, (process.args, errors)
    assert "running it again goes on from there" in (errors or "")
    assert "Traceback" not in (errors or "")
    assert time.monotonic() - since_s < BOUND_S


def test_commands_that_wait_for_a_store_that_does_not_answer(
    moto_bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{moto_bucket.uri}/out"
    commands = [
        ("plan", f"{moto_bucket.uri}/in", "--output", str(tmp_path / "plan")),
        ("nightly", f"{moto_bucket.uri}/in", "--output", out),
        ("status", out),
        ("report", out),
    ]
    with fault_proxy(moto_bucket.endpoint.port, delay_s=HOURS) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        processes: list[subprocess.Popen[str]] = []
        for arguments in commands:
            num_asked = len(proxy.requests)
            processes.append(started(*arguments))
            wait_for(f"{arguments[0]} to ask", lambda before=num_asked: len(proxy.requests) > before)
        since_s = time.monotonic()
        for number, process in enumerate(processes):
            process.send_signal((signal.SIGINT, signal.SIGTERM)[number % 2])
        for process in processes:
            assert_ended(process, since_s)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_waits_for_a_document(moto_bucket: TestBucket, tmp_path: Path, signal_number: int) -> None:
    moto_bucket.put("in/a.pdf", documents.pdf(["page"]))
    inputs = Inputs((f"{moto_bucket.uri}/in",), (), str(tmp_path / "out"))
    asyncio.run(make_plan(inputs, scripted_settings(tmp_path, f"storage.endpoint_url={moto_bucket.endpoint.url}")))
    with holding_proxy(moto_bucket.endpoint.port, Hold("GET .*/a.pdf")) as proxy:
        options = ["--endpoint-url", proxy.url, "--set", f"flow.cache_dir={tmp_path / 'another'}"]
        process = started("convert", *inputs.sources, "--output", inputs.output, *options)
        wait_for("the document to be asked for", lambda: proxy.held)
        since_s = time.monotonic()
        process.send_signal(signal_number)
        assert_ended(process, since_s)


FAILS_WHILE_THREADS_WAIT = """
import asyncio, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import quire.jobs.ending
quire.jobs.ending._PATIENCE_S = 0.2
never, own = threading.Event(), ThreadPoolExecutor(1)
async def work():
    own.submit(never.wait)
    asyncio.get_running_loop().create_task(asyncio.to_thread(never.wait))
    await asyncio.sleep(0)
    raise SystemExit(4)
quire.jobs.ending.run_process(lambda: quire.jobs.ending.run(work()), "")
"""


def test_an_error_does_not_wait_for_threads_that_wait() -> None:
    done = subprocess.run([sys.executable, "-c", FAILS_WHILE_THREADS_WAIT], timeout=60, capture_output=True)
    assert (done.returncode, done.stderr) == (4, b"")
