"""A Ray cluster as a person starts one, `ray start --head`, with token authentication and its own ports and folders.

Runs in the foreground under this process and ends with it; other clusters on the machine are left alone, which
`ray stop` would not do.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_for

_START_TIMEOUT_S = 90


@dataclass(frozen=True, slots=True)
class RayCluster:
    """`url` is the dashboard's; `variables` let a client in; `folder` holds all that Ray writes, logs included."""

    url: str
    token: str
    variables: dict[str, str]
    folder: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


@contextmanager
def ray_cluster(num_cpus: int, variables: Mapping[str, str]) -> Iterator[RayCluster]:
    """`variables` are set in all of its processes, as on nodes."""
    own = Path(tempfile.mkdtemp(prefix="qray-"))  # sockets below it must have short names
    folder, token = own / "r", secrets.token_hex()
    (own / "token").write_text(token)
    client = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(own / "token")}
    port = _free_port()
    with (own / "start.log").open("wb") as log:
        process = subprocess.Popen(
            _command(folder, port, num_cpus),
            env={**_without_ray(os.environ), **variables, **client, "PATH": _path()},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, port, own)
        yield RayCluster(f"http://127.0.0.1:{port}", token, client, folder)
    finally:
        _end(process)
        shutil.rmtree(own, ignore_errors=True)


def _command(folder: Path, port: int, num_cpus: int) -> list[str]:
    options = {
        "--node-ip-address": "127.0.0.1",
        "--port": "0",
        "--dashboard-host": "127.0.0.1",
        "--dashboard-port": str(port),
        "--dashboard-agent-listen-port": "0",
        "--ray-client-server-port": str(_free_port()),
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


def _wait(process: subprocess.Popen[bytes], port: int, own: Path) -> None:
    """Until the Jobs API asks for a token."""
    log = own / "start.log"

    def answers() -> bool:
        assert process.poll() is None, f"ray start ended with {process.returncode}: {log.read_text()}"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version", timeout=5).close()
        except OSError as exc:
            return isinstance(exc, urllib.error.HTTPError)
        return True

    wait_for("the Jobs API of a new Ray cluster", answers, _START_TIMEOUT_S, saw=log.read_text)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
