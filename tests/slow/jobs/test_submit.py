"""Jobs on a real Ray cluster with token authentication: sent, followed through a broken connection, shown, stopped.

The cluster's processes have no AWS keys of their own; each job is given them by --pass-credentials.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import TestBucket
from tests.documents import encrypted_pdf
from tests.rigs.endpoint import Endpoint
from tests.rigs.ray_cluster import RayCluster, ray_cluster
from tests.rigs.tcp_proxy import tcp_proxy
from tests.runs import command, heed_ctrl_c, quire, read_table, set_options, write_samples
from tests.waiting import wait_for

pytestmark = [pytest.mark.timeout(300)]

SCRIPTED = set_options(("engine.name=scripted", "ray.num_engines=1"))
PASSWORD = "opened-by-this-alone"


@pytest.fixture(scope="module")
def cluster(moto_endpoint: Endpoint) -> Iterator[RayCluster]:
    on_nodes = {name: value for name, value in moto_endpoint.environment().items() if "KEY" not in name}
    with ray_cluster(1, {**on_nodes, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}) as cluster:
        yield cluster


@pytest.fixture
def bucket(moto_bucket: TestBucket, cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> TestBucket:
    """With the client's variables set as a person would."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_bucket.endpoint.url)
    monkeypatch.setenv("RAY_ADDRESS", cluster.url)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
    return moto_bucket


def put_samples(bucket: TestBucket, folder: Path) -> dict[str, int]:
    pages = write_samples(folder, 3)
    for path in folder.iterdir():
        bucket.put(f"in/{path.name}", path.read_bytes())
    return pages


@dataclass(frozen=True, slots=True)
class Command:
    """One that runs; `folder` has what it has said so far."""

    process: subprocess.Popen[bytes]
    folder: Path

    def shown(self) -> str:
        return (self.folder / "shown").read_text()

    def told(self) -> str:
        return (self.folder / "told").read_text()

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        def look() -> bool:
            has_ended = self.process.poll() is not None  # asked first: it may say its last words meanwhile
            found = is_so()
            assert found or not has_ended, f"the command ended before {what}: {self.shown()}{self.told()}"
            return found

        wait_for(what, look, saw=lambda: self.shown() + self.told())

    def wait_for_end(self) -> None:
        self.wait_for("the command to end", lambda: self.process.poll() is not None)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Command]:
    """The command beside the test; it is killed if it has not ended."""
    with (folder / "shown").open("w") as shown, (folder / "told").open("w") as told:
        process = subprocess.Popen(command(*arguments), stdout=shown, stderr=told, preexec_fn=heed_ctrl_c)
    try:
        yield Command(process, folder)
    finally:
        process.kill()
        process.wait(timeout=30)


def files_with(text: str, folder: Path) -> list[str]:
    """Whatever is below the folder, the files aside that the job was given."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "files"]
    return [str(path) for path in paths if text.encode() in path.read_bytes()]


def test_a_job_is_followed_through_a_broken_connection_to_its_exit_code(
    bucket: TestBucket, cluster: RayCluster, tmp_path: Path
) -> None:
    """Nothing of the log is lost or comes twice, and no secret is in any of it: with -vv, neither in what the command
    prints, nor in the job's description, nor in Ray's files, nor in the results."""
    pages = put_samples(bucket, tmp_path / "in")
    bucket.put("in/locked.pdf", encrypted_pdf(PASSWORD))
    bucket.put("in/lost.pdf", encrypted_pdf("another"))
    (tmp_path / "passwords.txt").write_text(f"{PASSWORD}\n")
    (tmp_path / "quire.toml").write_text("[plan]\npages_per_shard = 8\n")
    options = ["--passwords", str(tmp_path / "passwords.txt"), "--config", str(tmp_path / "quire.toml"), *SCRIPTED]
    work = ["convert", f"{bucket.uri}/in", "--output", f"{bucket.uri}/out", *options]
    with tcp_proxy(cluster.port) as proxy:
        to_proxy = ["--address", proxy.url, "--id", "followed", "--pass-credentials"]
        with running(tmp_path, "-vv", "submit", *to_proxy, *work) as run:
            run.wait_for("two lines of the job's log", lambda: run.shown().count("\n") >= 2)
            proxy.cut(num_refused=2)
            run.wait_for_end()
    shown, told = run.shown(), run.told()
    assert run.process.returncode == 3, "as convert does, since a document could not be read: " + told
    assert proxy.num_cut == 3
    # The cut is told, and what was refused: once or twice, since the HTTP client tries again by itself if it had
    # come far enough when the reset reached it.
    assert told.count("lost the connection") in (2, 3), told
    logs = quire("jobs", "logs", "followed")
    assert shown == logs.stdout
    described = quire("jobs", "status", "followed")
    assert described.returncode == 3 and "FAILED, exit code 3" in described.stdout
    assert len(read_table(bucket.folder("out"), "pages")) == sum(pages.values()) + 1

    printed = told + logs.stdout + logs.stderr + described.stdout
    results = b"".join(bucket.folder("out").get(info.key) for info in bucket.folder("out").list())
    for secret in (bucket.endpoint.secret_key, PASSWORD, cluster.token):
        assert secret not in printed
        assert secret.encode() not in results
        assert not files_with(secret, cluster.folder)


def test_a_job_outlives_its_terminal_and_is_not_submitted_twice_and_stops(
    bucket: TestBucket, tmp_path: Path
) -> None:
    put_samples(bucket, tmp_path / "in")
    work = ["convert", f"{bucket.uri}/in", "--output", f"{bucket.uri}/out", *SCRIPTED]
    slow = ["--pass-credentials", *work, "--set", "scripted.seconds_per_page=600"]
    with running(tmp_path, "submit", *slow) as run:
        run.wait_for("the job to tell how many pages it has", lambda: "pages in" in run.shown())
        job_id = run.told().splitlines()[0].removeprefix("submitted as ").strip()
        run.process.send_signal(signal.SIGINT)
        run.wait_for_end()
    assert "The job goes on" in run.told()
    assert run.process.returncode == 130

    status = quire("jobs", "status", job_id)
    assert status.returncode == 5 and "RUNNING" in status.stdout
    again = quire("submit", *slow)
    assert again.returncode == 1
    assert f"the job {job_id} is there already" in again.stderr and "quire jobs stop" in again.stderr
    listed = next(line for line in quire("jobs", "list").stdout.splitlines() if line.startswith(job_id))
    assert "RUNNING" in listed and f"{bucket.uri}/out" in listed

    stopped = quire("jobs", "stop", job_id)
    assert stopped.returncode == 0 and "STOPPED" in stopped.stdout, stopped.stderr
    assert quire("jobs", "status", job_id).returncode == 130
    assert "running it again goes on from there" in quire("jobs", "logs", job_id).stdout


@pytest.mark.parametrize("mode", ["token", "disabled"])
def test_a_wrong_token_or_none_is_said_in_words(
    bucket: TestBucket, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("wrong-and-secret-" * 4)
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    done = quire("jobs", "list")
    assert done.returncode == 1
    assert "RAY_AUTH_TOKEN_PATH" in done.stderr and "Traceback" not in done.stderr
    assert "wrong-and-secret" not in done.stderr


def test_a_job_that_is_not_there(bucket: TestBucket) -> None:
    done = quire("jobs", "logs", "--follow", "no-such-job")
    assert done.returncode == 1
    assert "knows no job no-such-job" in done.stderr
