"""Kill something in the middle of a run, go on, and see that nothing is lost, doubled, renumbered or done twice.

A kill point is drawn from a seed: who is killed (the driver, an engine, a rasterizer, a runner) and after how
many engine calls. `python -m tests.kills --points 200` runs as many as asked for and says what it found; the
test suite runs a selection. Everything is real: the command in a process of its own, SIGKILL, and for
Ray a cluster of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.config import StorageSettings
from pipeline.engines.scripted_engine import journal_counts
from pipeline.storage import open_folder
from pipeline.write import committed_shards
from tests.runs import SCRIPTED, command, results, set_options, write_samples

WINDOW = 4
_PATIENCE_S = 120.0
_RAY_PROCESSES = {"engine": "ray::EngineWorker", "runner": "ray::Runner", "rasterizer": "ray::rasterize_chunk"}


@dataclass(frozen=True, slots=True)
class KillPoint:
    victim: str
    after_calls: int  # engine calls in the journal before the kill
    delay_s: float  # and then this long

    @classmethod
    def draw(cls, seed: int, victims: tuple[str, ...], num_pages: int) -> KillPoint:
        chance = random.Random(seed)
        return cls(chance.choice(victims), chance.randrange(num_pages), chance.random() * 0.1)


@dataclass(frozen=True, slots=True)
class Report:
    """What one kill did. `recomputed`: engine calls beyond one for each page with ink."""

    point: KillPoint
    was_killed: bool
    num_committed: int
    recomputed: int


@dataclass(slots=True)
class KillRig:
    """One set of documents, and the results that an undisturbed run makes of them."""

    directory: Path
    storage: StorageSettings = field(default_factory=StorageSettings)
    base_uri: str = ""  # where outputs go; below `directory` if empty
    variables: Mapping[str, str] = field(default_factory=dict)
    ray_pid: int = 0  # of the process that the cluster's workers descend from
    expected: dict[str, bytes] = field(default_factory=dict)
    num_calls: int = 0

    def prepare(self) -> None:
        write_samples(self.directory / "in")
        self._run(self._start("reference"))
        self.expected = results(open_folder(self._output("reference"), self.storage))
        self.num_calls = sum(journal_counts(self._journal("reference")).values())

    def kill_and_go_on(self, name: str, point: KillPoint) -> Report:
        """Run, kill, run again if it was the driver, and check the results. Raises AssertionError."""
        driver = self._start(name)
        was_killed = self._kill(driver, name, point)
        if point.victim == "driver":
            driver.wait(_PATIENCE_S)
            committed = committed_shards(open_folder(self._output(name), self.storage))
            before = self._calls_of(name, committed)
            self._run(self._start(name))
            assert self._calls_of(name, committed) == before, "a committed shard was computed again"
        else:
            self._run(driver)
            committed = set()
        folder = open_folder(self._output(name), self.storage)
        got = results(folder)
        assert got.keys() == self.expected.keys()
        different = [key for key in got if got[key] != self.expected[key]]
        assert not different, f"other bytes than an undisturbed run: {different}"
        num_calls = sum(journal_counts(self._journal(name)).values())
        return Report(point, was_killed, len(committed), num_calls - self.num_calls)

    def _start(self, name: str) -> subprocess.Popen[str]:
        options = (
            *SCRIPTED,
            f"scripted.journal={self._journal(name)}",
            f"scripted.window={WINDOW}",
            "scripted.seconds_per_page=0.05",
            f"flow.cache_dir={self.directory / 'cache'}",
            "ray.num_engines=2",
        )
        arguments = ["convert", str(self.directory / "in"), "--output", self._output(name), *set_options(options)]
        if self.storage.endpoint_url:
            arguments += ["--endpoint-url", self.storage.endpoint_url]
        if self.ray_pid:
            arguments += ["--ray", "auto"]
        return subprocess.Popen(
            command(*arguments),
            env={**os.environ, **self.variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _run(self, driver: subprocess.Popen[str]) -> None:
        _, errors = driver.communicate(timeout=_PATIENCE_S)
        assert driver.returncode == 0, errors[-3000:]

    def _kill(self, driver: subprocess.Popen[str], name: str, point: KillPoint) -> bool:
        """Wait for the moment, then kill. False if the run was over first."""
        journal = self._journal(name)
        deadline = time.monotonic() + _PATIENCE_S
        while driver.poll() is None:
            assert time.monotonic() < deadline, "the run does not get on"
            if _num_lines(journal) >= point.after_calls:
                time.sleep(point.delay_s)
                for victim in self._victims(driver, point.victim):
                    victim.kill()
                    if driver.stderr and point.victim == "driver":
                        driver.stderr.close()
                    return True
            time.sleep(0.01)
        return False

    def _victims(self, driver: subprocess.Popen[str], victim: str) -> list[psutil.Process]:
        """A process of that kind, if there is one now."""
        if victim == "driver":
            return [psutil.Process(driver.pid)]
        wanted = _RAY_PROCESSES[victim] if self.ray_pid else "pipeline.child_process"
        root = psutil.Process(self.ray_pid or driver.pid)
        found = [child for child in root.children(recursive=True) if _is_running(child, wanted)]
        random.Random(driver.pid).shuffle(found)
        return found

    def _calls_of(self, name: str, shards: set[str]) -> int:
        """Engine calls for the pages of these shards."""
        from pipeline.plan_log import planned_shards

        folder = open_folder(self._output(name), self.storage)
        pages = {
            (source.doc_id, index)
            for shard in planned_shards(folder)
            if shard.shard_id in shards
            for source in shard.ranges
            for index in range(source.start, source.stop)
        }
        counts = journal_counts(self._journal(name))
        return sum(number for (doc_id, index, _), number in counts.items() if (doc_id, index) in pages)

    def _output(self, name: str) -> str:
        return f"{self.base_uri or self.directory / 'out'}/{name}"

    def _journal(self, name: str) -> Path:
        return self.directory / f"journal-{name}"


@contextmanager
def ray_cluster(num_cpus: int = 4) -> Iterator[tuple[dict[str, str], int]]:
    """A cluster of one node that outlives its drivers: the variables that lead to it, and its raylet's pid."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as directory:
        token = Path(directory) / "token"
        token.write_text("a-token-for-one-test-cluster-" + "0" * 16)
        token.chmod(0o600)
        variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_worker_niceness": "0"}
        port = 20000 + os.getpid() % 20000
        start = f"start --head --port={port} --num-cpus={num_cpus} --include-dashboard=false --block"
        start += f" --object-store-memory={256 << 20} --disable-usage-stats --temp-dir={directory}"
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *start.split()],
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            raylet = _wait_for_raylet(head.pid)
            yield {**variables, "RAY_ADDRESS": f"127.0.0.1:{port}"}, raylet
        finally:
            processes = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
            for process in processes:
                process.kill()
            psutil.wait_procs(processes, timeout=10)
            head.wait()


def _wait_for_raylet(head_pid: int) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        for child in psutil.Process(head_pid).children(recursive=True):
            if _is_running(child, "raylet/raylet"):
                time.sleep(2.0)  # for it to open its port
                return child.pid
        time.sleep(0.2)
    raise TimeoutError("the Ray cluster did not start")


def _is_running(process: psutil.Process, wanted: str) -> bool:
    try:
        return wanted in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray-every", type=int, default=4, help="every n-th point runs on Ray; 0: none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, ray_cluster() as (variables, raylet):
        local = KillRig(Path(directory) / "local")
        on_ray = KillRig(Path(directory) / "ray", variables=variables, ray_pid=raylet)
        local.prepare()
        on_ray.prepare()
        num_killed = 0
        for seed in range(arguments.seed, arguments.seed + arguments.points):
            is_ray = arguments.ray_every and seed % arguments.ray_every == 0
            rig = on_ray if is_ray else local
            victims = ("driver", "engine", "rasterizer", "runner") if is_ray else ("driver", "rasterizer")
            report = rig.kill_and_go_on(f"seed{seed}", KillPoint.draw(seed, victims, rig.num_calls))
            num_killed += report.was_killed
            print(f"seed {seed}: {report}", flush=True)
        print(f"{arguments.points} points, {num_killed} kills, every run ended with the right files")


if __name__ == "__main__":
    main()
