"""A Ray cluster as a person starts one, `ray start --head`, with token authentication and its own ports and folders.

Runs in the foreground under this process and ends with it; other clusters on the machine are left alone, which
`ray stop` would not do. For nodes that a test adds and takes away: `ray_nodes`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.rigs.endpoint import free_port
from tests.waiting import wait_for

_START_TIMEOUT_S = 90
START_TRIES = 3  # Ray gives a node 30 s, a time that no setting changes and that a machine may stand still for


@dataclass(frozen=True, slots=True)
class RayCluster:
    """`url` is the dashboard's, if it has one; `address` is for drivers; `variables` let a client in; `folder` holds
    all that Ray writes, logs included."""

    url: str
    address: str
    token: str
    variables: dict[str, str]
    folder: Path
    pid: int  # of the process that all others of the cluster descend from

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


@contextmanager
def ray_cluster(num_cpus: int, variables: Mapping[str, str], has_jobs_api: bool = True) -> Iterator[RayCluster]:
    """`variables` are set in all of its processes, as on nodes. The Jobs API needs the dashboard, which takes long."""
    for num_left in reversed(range(START_TRIES)):
        with ExitStack() as stack:
            try:
                cluster = stack.enter_context(_started(num_cpus, variables, has_jobs_api))
            except _NotStarted:
                if num_left:
                    continue
                raise
            yield cluster
            return


class _NotStarted(Exception):
    """With what `ray start` printed."""


@contextmanager
def _started(num_cpus: int, variables: Mapping[str, str], has_jobs_api: bool) -> Iterator[RayCluster]:
    own = Path(tempfile.mkdtemp(prefix="qray-"))  # sockets below it must have short names
    folder, token = own / "r", secrets.token_hex()
    (own / "token").write_text(token)
    client = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(own / "token")}
    port, dashboard_port = free_port(), free_port() if has_jobs_api else 0
    with (own / "start.log").open("wb") as log:
        process = subprocess.Popen(
            _command(folder, port, dashboard_port, num_cpus),
            env={**_without_ray(os.environ), **variables, **client, "PATH": _path()},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, dashboard_port, own / "start.log")
        url = f"http://127.0.0.1:{dashboard_port}" if has_jobs_api else ""
        yield RayCluster(url, f"127.0.0.1:{port}", token, client, folder, process.pid)
    finally:
        _end(process)
        shutil.rmtree(own, ignore_errors=True)


def agent_ports() -> dict[str, int]:
    """Agents that choose theirs must tell them within 15 s, or their node aborts, and a busy machine takes longer."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    return {name: free_port() for name in names}


def _command(folder: Path, port: int, dashboard_port: int, num_cpus: int) -> list[str]:
    ports = agent_ports()
    options = {
        "--node-ip-address": "127.0.0.1",
        "--port": str(port),
        "--include-dashboard": "true" if dashboard_port else "false",
        "--dashboard-host": "127.0.0.1",
        "--dashboard-port": str(dashboard_port),
        "--dashboard-agent-listen-port": str(ports["dashboard_agent_listen_port"]),
        "--dashboard-agent-grpc-port": str(ports["metrics_agent_port"]),
        "--metrics-export-port": str(ports["metrics_export_port"]),
        "--runtime-env-agent-port": str(ports["runtime_env_agent_port"]),
        "--ray-client-server-port": str(free_port()),
        "--include-log-monitor": "false",
        "--no-monitor": "",
        "--temp-dir": str(folder),
        "--num-cpus": str(num_cpus),
        "--object-store-memory": str(200 << 20),
        "--disable-usage-stats": "",
        "--block": "",
    }
    words = [f"{name}={value}" if value else name for name, value in options.items()]
    return [str(Path(sys.executable).parent / "ray"), "start", "--head", *words]


def _without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("RAY_")}


def _path() -> str:
    """Jobs are run by the `python` that is found first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def _wait(process: subprocess.Popen[bytes], dashboard_port: int, log: Path) -> None:
    """Until its node is there and, if it has one, the Jobs API asks for a token."""

    def answers() -> bool:
        if process.poll() is not None:
            raise _NotStarted(f"ray start ended with {process.returncode}: {log.read_text()}")
        if "Ray runtime started" not in log.read_text():
            return False
        if not dashboard_port:
            return True
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{dashboard_port}/api/version", timeout=5).close()
        except OSError as exc:
            return isinstance(exc, urllib.error.HTTPError)
        return True

    wait_for("a new Ray cluster", answers, _START_TIMEOUT_S, saw=log.read_text)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of the cluster is killed, if its head has died before, too: only what is of its session."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=30)
    kill(other for other in psutil.process_iter() if _session(other.pid) == process.pid)
    process.wait(timeout=30)


def kill(processes: Iterable[psutil.Process]) -> None:
    """And wait until they have ended."""
    killed = list(processes)
    for process in killed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(killed, timeout=30)


def _session(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0
