"""Ray's Jobs API: a command runs on a cluster and outlives the terminal that started it.

One `JobServer` a cluster. Ray's token authentication is honoured as its environment says (RAY_AUTH_MODE,
RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH); the token goes into no message. Does not know what the command is, or what its
exit codes mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from quire.errors import NotFound, QuireError
from quire.secrets import redacted

_STOP_WAIT_S = 60  # between SIGTERM and SIGKILL; Ray's default of 3 s is too short to end shards in order
_SILENCE_S = 60.0  # without log output, then the connection counts as lost: networks may drop it silently
_PATIENCE_S = 1800.0  # for a cluster that does not answer
_LONGEST_WAIT_S = 15.0
_LOST = (aiohttp.ClientError, OSError, RuntimeError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the cluster describes it. `exit_code` is the command's, 128 plus the signal's number if it was killed;
    None if it did not run to its end. Times are in UTC."""

    job_id: str
    status: str  # PENDING RUNNING STOPPED SUCCEEDED FAILED
    command: str
    labels: Mapping[str, str]
    message: str
    started: datetime | None
    ended: datetime | None
    exit_code: int | None

    @property
    def has_ended(self) -> bool:
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")


class JobServer:
    """The Jobs API of one cluster, at the address of its dashboard. All methods but `follow` block."""

    def __init__(self, address: str) -> None:
        """Raises `QuireError` if nobody answers there, or the token is wrong."""
        self.address = redacted(address)  # for messages
        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)  # at INFO it reports each package and connection
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # Ray prefers its variables to arguments
        with self._explained():
            self._client = JobSubmissionClient(address)

    def submit(
        self, job_id: str, command: str, folder: Path, variables: Mapping[str, str], labels: Mapping[str, str]
    ) -> bool:
        """Start a shell command in a copy of `folder`, which is also first in the import path of every process of the
        job.

        False if the id is taken. Variables and labels are shown to all who may look at the cluster.
        """
        environment = {
            "working_dir": str(folder),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_WAIT_S), **variables},
        }
        with self._explained():
            try:
                self._client.submit_job(
                    entrypoint=command, submission_id=job_id, runtime_env=environment, metadata=dict(labels)
                )
            except RuntimeError as exc:
                if "already exists" in str(exc):
                    return False
                raise
        return True

    def job(self, job_id: str) -> Job:
        """Raises `NotFound`."""
        with self._explained(job_id):
            return _job(self._client.get_job_info(job_id))

    def jobs(self) -> list[Job]:
        """All submitted jobs that the cluster remembers, the latest first."""
        with self._explained():
            listed: Iterable[Any] = self._client.list_jobs()
            jobs = [_job(details) for details in listed if details.submission_id]
        return sorted(jobs, key=lambda job: str(job.started), reverse=True)

    def logs(self, job_id: str) -> str:
        """All that the job has written so far. Raises `NotFound`."""
        with self._explained(job_id):
            return self._client.get_job_logs(job_id)

    def stop(self, job_id: str) -> bool:
        """Ask the job to end; `follow` tells when it has. False if it had ended before. Raises `NotFound`."""
        with self._explained(job_id):
            return self._client.stop_job(job_id)

    async def follow(self, job_id: str, show: Callable[[str], None], warn: Callable[[str], None]) -> Job:
        """Show what the job writes, from its beginning and each character once, until it ends.

        After a lost connection it calls `warn` and connects again. The cluster then sends the log from its beginning,
        and what was shown is skipped. Raises `NotFound`, and `QuireError` after the cluster was silent for
        `_PATIENCE_S`.
        """
        await asyncio.to_thread(self.job, job_id)
        num_shown, wait_s, lost_at = 0, 1.0, None
        clock = asyncio.get_running_loop().time
        while True:
            num_seen = 0
            try:
                async for text in self._tail(job_id):
                    show(text[max(0, num_shown - num_seen) :])
                    num_seen += len(text)
                    num_shown = max(num_shown, num_seen)
                    wait_s, lost_at = 1.0, None
                job = await asyncio.to_thread(self.job, job_id)
                if job.has_ended:
                    return job
            except NotFound:
                raise
            except (*_LOST, QuireError) as exc:
                lost_at = lost_at or clock()
                if clock() - lost_at > _PATIENCE_S:
                    raise QuireError(f"{self.address} has not answered for {_PATIENCE_S / 60:g} minutes") from exc
                warn(f"lost the connection to {self.address}; the job goes on, and so does this in {wait_s:g} s")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _tail(self, job_id: str) -> AsyncIterator[str]:
        """The log in pieces, until it ends or is silent for `_SILENCE_S`."""
        tail = cast(AsyncGenerator[str], self._client.tail_job_logs(job_id))
        async with contextlib.aclosing(tail) as pieces:
            while True:
                try:
                    yield await asyncio.wait_for(anext(pieces), _SILENCE_S)
                except (StopAsyncIteration, TimeoutError):
                    return

    @contextlib.contextmanager
    def _explained(self, job_id: str = "") -> Generator[None]:
        """Ray's errors as ours. Its client raises RuntimeError for every answer but 200."""
        try:
            yield
        except AuthenticationError as exc:
            raise QuireError(
                f"the cluster at {self.address} wants a token, or another one: set RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN_PATH to the file with the cluster's token"
            ) from exc
        except OSError as exc:
            raise QuireError(
                f"nobody answers at {self.address}: the address is that of Ray's dashboard, like http://head:8265; is "
                "it up, and the way to it open?"
            ) from exc
        except (RuntimeError, ValueError) as exc:
            if job_id and "does not exist" in str(exc):
                raise NotFound(
                    f"the cluster at {self.address} knows no job {job_id}: see `quire jobs list`"
                ) from exc
            raise QuireError(
                f"the cluster at {self.address} does not do as asked: {redacted(str(exc))[:1000]}"
            ) from exc


def _job(details: Any) -> Job:
    """From Ray's `JobDetails`, a class that is None if Ray finds no pydantic."""
    code = details.driver_exit_code
    return Job(
        str(details.submission_id),
        JobStatus(details.status).value,
        details.entrypoint,
        details.metadata or {},
        details.message or "",
        _time(details.start_time),
        _time(details.end_time),
        128 - code if code is not None and code < 0 else code,
    )


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
