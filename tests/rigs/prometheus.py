"""A real Prometheus for tests, on a free port, with a configuration and a data folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.endpoint import free_port
from tests.waiting import wait_for

PROGRAMS = ("prometheus", "promtool")
_START_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of one answer of the HTTP API. Raises AssertionError with the server's words for an error."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{path} {parameters}: {exc.read().decode()}") from exc

    def values(self, query: str, *labels: str) -> dict[tuple[str, ...], float]:
        """A query's present values by the labels named."""
        found = self.ask("query", query=query)["result"]
        return {tuple(one["metric"].get(label, "") for label in labels): float(one["value"][1]) for one in found}

    def series(self, query: str, start: float) -> list[dict[str, Any]]:
        """A query's values from `start` (seconds since the epoch) until now, as a dashboard asks for them."""
        found: list[dict[str, Any]] = self.ask("query_range", query=query, start=start, end=time.time(), step=1)[
            "result"
        ]
        return found


def require_prometheus() -> None:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        reason = f"no {' and no '.join(missing)} here: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def prometheus(config: Path, data: Path) -> Iterator[Prometheus]:
    """Runs while it is open."""
    server = Prometheus(f"http://127.0.0.1:{free_port()}")
    address = server.url.removeprefix("http://")
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}"]
    with open(data.with_suffix(".log"), "wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        _wait_until_ready(server, process, data.with_suffix(".log"))
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_ready(server: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    def last_words() -> str:
        return log.read_text()[-2000:]

    def is_ready() -> bool:
        assert process.poll() is None, f"prometheus ended with {process.returncode}:\n{last_words()}"
        try:
            urllib.request.urlopen(f"{server.url}/-/ready", timeout=5).close()
        except OSError:
            return False
        return True

    wait_for("prometheus to be ready", is_ready, _START_WITHIN_S, saw=last_words)
