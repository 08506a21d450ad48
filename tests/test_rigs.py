"""What many tests stand on: ports and proxies that leave nothing to the next test."""

import asyncio
import gc
import random
import socket
import subprocess
import sys
import warnings
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

from tests.conftest import TestBucket
from tests.rigs import ray_cluster
from tests.rigs.endpoint import free_port
from tests.rigs.fault_proxy import Listener, Serve, forward
from tests.rigs.ray_nodes import add_node


async def read_to_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def send_what_nobody_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(2**26))


async def end_after(num_turns: int, serve: Serve, client: socket.socket) -> None:
    """The client connects, and so many turns of the loop later the server ends."""
    listener = await Listener.of(serve)
    client.connect(("127.0.0.1", listener.port))
    for _ in range(num_turns):
        await asyncio.sleep(0)
    await listener.end()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def cut_off_after(num_turns: int, port: int) -> None:
    """The server at this port is asked, and so many turns of the loop later nobody wants the answer."""
    asking = asyncio.create_task(forward(port, b"GET / HTTP/1.1\r\n\r\n", b""))
    for _ in range(num_turns):
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.fixture(scope="module")
def young_objects_only() -> None:
    """What other tests left is not meant, nor looked through: it takes seconds where PyTorch is imported."""
    gc.collect()
    gc.freeze()


def what_is_left_open(work: Coroutine[Any, Any, None]) -> list[str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(work)
        gc.collect()
    return [str(warning.message) for warning in told]


@pytest.mark.usefixtures("young_objects_only")
@pytest.mark.parametrize("serve", [read_to_the_end, send_what_nobody_reads])
@pytest.mark.parametrize("num_turns", range(8))
def test_a_proxy_that_ends_leaves_no_connection_open(num_turns: int, serve: Serve) -> None:
    with socket.socket() as client:
        assert what_is_left_open(end_after(num_turns, serve, client)) == []


@pytest.mark.usefixtures("young_objects_only")
@pytest.mark.parametrize("num_turns", range(8))
def test_a_request_that_is_cut_off_leaves_no_connection_open(num_turns: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert what_is_left_open(cut_off_after(num_turns, silent.getsockname()[1])) == []


def test_one_of_many_that_write_at_once_is_the_first(moto_bucket: TestBucket) -> None:
    """As S3 promises. Threads take turns a thousand times as often as they would, so that none is spared by luck."""
    folder = moto_bucket.folder("")
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        with ThreadPoolExecutor(16) as pool:
            for key in map(str, range(8)):
                answers = list(pool.map(folder.put_if_absent, [key] * 16, [b"a"] * 16))
                assert answers.count(True) == 1
    finally:
        sys.setswitchinterval(usual_s)


def test_processes_whose_chance_is_seeded_alike_have_other_ports() -> None:
    """As those of shuffled tests."""
    ports = []
    for _ in range(2):
        random.seed(7)
        ports.append([free_port() for _ in range(4)])
    assert ports[0] != ports[1]


@pytest.mark.parametrize("num_failures", [0, 2, 3])
def test_a_cluster_that_does_not_start_is_tried_again_and_then_told(
    monkeypatch: pytest.MonkeyPatch, num_failures: int
) -> None:
    """With commands that stand in for `ray start`."""
    gives_up = [sys.executable, "-c", "print('timed out during startup'); raise SystemExit(1)"]
    starts = [sys.executable, "-c", "import signal; print('Ray runtime started', flush=True); signal.pause()"]
    commands = [gives_up] * num_failures + [starts]
    monkeypatch.setattr(ray_cluster, "_command", lambda *_: commands.pop(0))
    told = pytest.raises(Exception, match="ended with 1: timed out") if num_failures == 3 else nullcontext()
    with told, ray_cluster.ray_cluster(1, {}, has_jobs_api=False) as cluster:
        assert not commands
    if num_failures < 3:
        assert not psutil.pid_exists(cluster.pid) and not cluster.folder.parent.exists()


@pytest.mark.parametrize("num_failures", [0, 2, 3])
def test_a_node_that_does_not_start_is_ended_and_tried_again_and_then_told(num_failures: int) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    class SlowCluster(Cluster):
        def add_node(self, wait: bool = True, **node_args: object) -> Any:
            processes.append(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]))
            if len(processes) <= num_failures:
                raise Exception("timed out during startup")

    told = pytest.raises(Exception, match="timed out during startup") if num_failures == 3 else nullcontext()
    with told:
        add_node(SlowCluster(), num_cpus=1)
    ended = processes[:num_failures]
    assert len(processes) == min(num_failures + 1, 3)
    assert [process.poll() is not None for process in processes] == [process in ended for process in processes]
    for process in processes:
        process.kill()
        process.wait()
