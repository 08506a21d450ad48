"""Kill something in the middle of a run, go on, and see that nothing is lost, doubled, renumbered or done twice.

`KillRig` has the documents and knows the results of an undisturbed run. A kill is at a `KillPoint`, so many engine
calls into the run, or while a request to the store is held. The test suite chooses its points; `tests/soak.py` draws
them from seeds. Everything is real: the command in a process of its own, SIGKILL, and for Ray a cluster of its own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from quire.config.sections import StorageSettings
from quire.engines.scripted_engine import journal_counts
from quire.planning.plan_log import planned_shards
from quire.storage import Folder, open_folder
from quire.tables.keys import committed_shards
from tests.rigs import ray_cluster as rig
from tests.rigs.holding_proxy import Hold, holding_proxy
from tests.runs import SCRIPTED, command, results, set_options, write_samples
from tests.waiting import BOUND_S, wait_for, wait_for_end

WINDOW = 4
_PACE_S = 0.05
_RAY_PROCESSES = {"engine": "ray::EngineWorker", "runner": "ray::Runner", "rasterizer": "ray::rasterize_chunk"}


@dataclass(frozen=True, slots=True)
class KillPoint:
    victim: str
    after_calls: int  # engine calls in the journal before the kill
    delay_s: float = 0.0  # and then this long, to hit moments that no count tells
    pace_s: float = _PACE_S  # an engine call takes this long: slow ones make a moment last

    @classmethod
    def draw(cls, seed: int, victims: tuple[str, ...], num_pages: int) -> KillPoint:
        chance = random.Random(seed)
        return cls(chance.choice(victims), chance.randrange(num_pages), chance.random() * 0.1)


@dataclass(frozen=True, slots=True)
class Report:
    """What one kill did. `recomputed`: engine calls beyond one for each page with ink."""

    was_killed: bool
    num_committed: int  # shards at the moment of the driver's death
    recomputed: int


@dataclass(slots=True)
class KillRig:
    """One set of documents, and the results that an undisturbed run makes of them, wherever it runs."""

    directory: Path
    storage: StorageSettings = field(default_factory=StorageSettings)
    base_uri: str = ""  # where outputs go; below `directory` if empty
    variables: Mapping[str, str] = field(default_factory=dict)
    ray_pid: int = 0  # of the process that the cluster's workers descend from
    expected: dict[str, bytes] = field(default_factory=dict)
    num_calls: int = 0

    def prepare(self) -> None:
        """Write the documents, one of them twice, so that one has no pages of its own; and run undisturbed."""
        folder = self.directory / "in"
        write_samples(folder, 4)
        (folder / "twin.pdf").write_bytes((folder / "doc00.pdf").read_bytes())
        self._run_to_its_end("reference")
        self.expected = results(self.output("reference"))
        self.num_calls = self._num_calls("reference")

    def kill_and_go_on(self, name: str, point: KillPoint) -> Report:
        """Run, kill, run again if it was the driver, and check the results. Raises AssertionError."""
        self._insist_on_a_new(name)
        with self._running(name, point.pace_s) as driver:
            was_killed = self._kill(driver, name, point)
            if point.victim == "driver":
                driver.wait(BOUND_S)
                was_killed = driver.returncode == -signal.SIGKILL
            else:
                _finish(driver)
        if point.victim == "driver":
            return self.go_on(name, was_killed)
        self._check(name)
        return Report(was_killed, 0, self._num_calls(name) - self.num_calls)

    def kill_while_held(self, name: str, hold: Hold, port: int) -> str:
        """Run by way of a proxy before the store at this port, and kill the driver when a request is held there.
        Returns the request's line."""
        self._insist_on_a_new(name)
        with holding_proxy(port, hold) as proxy, self._running(name, _PACE_S, proxy.url) as driver:

            def look() -> str:
                assert driver.poll() is None, (
                    f"the run ended, and nothing matched {hold}: {driver.communicate(timeout=BOUND_S)[1]}"
                )
                return proxy.held

            line = wait_for(f"a request that matches {hold}", look, saw=lambda: proxy.requests[-5:])
            driver.kill()
            driver.wait(BOUND_S)
        return line

    def go_on(self, name: str, was_killed: bool = True) -> Report:
        """Run again after the driver's death, and check the results. Raises AssertionError."""
        committed = committed_shards(self.output(name))
        before = self._calls_of(name, committed)
        self._run_to_its_end(name)
        assert self._calls_of(name, committed) == before, "a committed shard was computed again"
        self._check(name)
        return Report(was_killed, len(committed), self._num_calls(name) - self.num_calls)

    def output(self, name: str) -> Folder:
        return open_folder(self._output_uri(name), self.storage)

    def _insist_on_a_new(self, name: str) -> None:
        assert not self._journal(name).exists(), f"{name} has run before: there would be nothing to kill"

    def _run_to_its_end(self, name: str) -> None:
        with self._running(name, _PACE_S) as driver:
            _finish(driver)

    def _check(self, name: str) -> None:
        got = results(self.output(name))
        assert got.keys() == self.expected.keys()
        different = [key for key in got if got[key] != self.expected[key]]
        assert not different, f"other bytes than an undisturbed run: {different}"

    @contextmanager
    def _running(self, name: str, pace_s: float, endpoint_url: str = "") -> Iterator[subprocess.Popen[str]]:
        """The command in a process of its own, which is gone at the end, however that comes."""
        options = (
            *SCRIPTED,
            f"scripted.journal={self._journal(name)}",
            f"scripted.window={WINDOW}",
            f"scripted.seconds_per_page={pace_s}",
            f"flow.cache_dir={self.directory / 'cache'}",
            "flow.megabytes_in_flight=14",  # two pages' pixels: rasterizers are at work as long as pages are left
            "ray.num_engines=2",
        )
        arguments = ["convert", str(self.directory / "in"), "--output", self._output_uri(name)]
        arguments += set_options(options)
        if endpoint := endpoint_url or self.storage.endpoint_url:
            arguments += ["--endpoint-url", endpoint]
        if self.ray_pid:
            arguments += ["--ray", "auto"]
        with subprocess.Popen(
            command(*arguments),
            env={**os.environ, **self.variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as driver:
            try:
                yield driver
            finally:
                driver.kill()

    def _kill(self, driver: subprocess.Popen[str], name: str, point: KillPoint) -> bool:
        """Wait for the moment, then kill. False if the run was over first."""
        journal = self._journal(name)
        wait_for(
            f"{point.after_calls} engine calls",
            lambda: _num_lines(journal) >= point.after_calls or driver.poll() is not None,
            saw=lambda: _num_lines(journal),
        )
        with suppress(subprocess.TimeoutExpired):
            driver.wait(point.delay_s)

        def kill() -> str:
            if driver.poll() is not None:
                return "over"
            return "killed" if self._kill_one(driver, point.victim) else ""

        return wait_for(f"a {point.victim} to kill", kill) == "killed"

    def _kill_one(self, driver: subprocess.Popen[str], victim: str) -> bool:
        for process in self._victims(driver, victim):
            with suppress(psutil.NoSuchProcess):
                process.kill()
                return True
        return False

    def _victims(self, driver: subprocess.Popen[str], victim: str) -> list[psutil.Process]:
        """The processes of that kind that there are now."""
        if victim == "driver":
            return [psutil.Process(driver.pid)]
        wanted = _RAY_PROCESSES[victim] if self.ray_pid else "quire.processes.child_process"
        root = psutil.Process(self.ray_pid or driver.pid)
        found = [child for child in root.children(recursive=True) if is_running(child, wanted)]
        random.Random(driver.pid).shuffle(found)
        return found

    def _calls_of(self, name: str, shards: set[str]) -> int:
        """Engine calls for the pages of these shards."""
        pages = {
            page for shard in planned_shards(self.output(name)) if shard.shard_id in shards for page in shard.pages
        }
        counts = journal_counts(self._journal(name))
        return sum(number for (doc_id, index, _), number in counts.items() if (doc_id, index) in pages)

    def _num_calls(self, name: str) -> int:
        return sum(journal_counts(self._journal(name)).values())

    def _output_uri(self, name: str) -> str:
        return f"{self.base_uri or self.directory / 'out'}/{name}"

    def _journal(self, name: str) -> Path:
        return self.directory / f"journal-{name}"


@contextmanager
def ray_cluster() -> Iterator[tuple[dict[str, str], int]]:
    """A cluster of one node that outlives its drivers: the variables that lead to it, and the pid that its processes
    descend from. One CPU is room for two scripted engines and a rasterizer."""
    with rig.ray_cluster(1, {"RAY_worker_niceness": "0"}, has_jobs_api=False) as cluster:
        yield {**cluster.variables, "RAY_ADDRESS": cluster.address}, cluster.pid


def _finish(driver: subprocess.Popen[str]) -> None:
    _, errors = wait_for_end(driver)
    assert driver.returncode == 0, errors[-3000:]


def is_running(process: psutil.Process, wanted: str) -> bool:
    try:
        return wanted in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
