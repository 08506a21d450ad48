"""`quire jobs`: list, follow and stop what runs on a Ray cluster.

Talks to Ray's Jobs API through `flows/ray_jobs.py`. Does not know what the jobs do: `quire status OUTPUT` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from quire.config.extras import RAY, install
from quire.errors import MissingDependency
from quire.jobs.ending import run
from quire.jobs.exit_codes import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_UNFINISHED
from quire.secrets import redacted

if TYPE_CHECKING:
    from quire.flows.ray_jobs import Job, JobServer

_Command = TypeVar("_Command", bound=Callable[..., Any])


def address_option(command: _Command) -> _Command:
    return click.option(
        "--address",
        metavar="URL",
        envvar=["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"],
        default="http://127.0.0.1:8265",
        show_default=True,
        help="The cluster's dashboard; also from RAY_API_SERVER_ADDRESS or RAY_ADDRESS. A token is taken from where "
        "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH say.",
    )(command)


def open_job_server(address: str) -> JobServer:
    """Raises `QuireError` if it does not answer."""
    try:
        from quire.flows.ray_jobs import JobServer
    except ImportError as exc:
        raise MissingDependency(f"clusters need the package ray: {install([RAY])}") from exc
    return JobServer(address)


async def follow(server: JobServer, job_id: str) -> int:
    """Show the job's log to its end; return the exit code for this command. An interrupt does not stop the job."""
    try:
        job = await server.follow(job_id, _show, lambda words: click.echo(f"quire: {words}", err=True))
    except asyncio.CancelledError:
        click.echo(
            f"\nThe job goes on. Watch it: quire jobs logs --follow {job_id}   Stop it: quire jobs stop {job_id}",
            err=True,
        )
        return EXIT_INTERRUPTED
    click.echo(_describe(job), err=True)
    return exit_code(job)


def _show(text: str) -> None:
    click.echo(text, nl=False)


def exit_code(job: Job) -> int:
    """That of the command that the job ran."""
    if job.exit_code is not None:
        return job.exit_code
    return EXIT_INTERRUPTED if job.status == "STOPPED" else EXIT_ERROR


@click.group("jobs")
def jobs_group() -> None:
    """What `quire submit` has started on a cluster."""


@jobs_group.command("list")
@address_option
def list_command(address: str) -> None:
    """List the jobs that the cluster remembers, the latest first."""
    for job in open_job_server(address).jobs():
        click.echo(
            f"{job.job_id:<34} {job.status:<10} {_clock(job.started)}  {job.labels.get('quire_output', '')}"
        )


@jobs_group.command("status")
@click.argument("job_id", metavar="JOB")
@address_option
@click.pass_context
def status_command(context: click.Context, /, address: str, job_id: str) -> None:
    """Show how a job is. Exits with 5 while it runs, then as its command did."""
    job = open_job_server(address).job(job_id)
    click.echo(_describe(job))
    click.echo(f"command    {redacted(job.command)}")
    if job.message:
        click.echo(job.message)
    context.exit(exit_code(job) if job.has_ended else EXIT_UNFINISHED)


@jobs_group.command("logs")
@click.argument("job_id", metavar="JOB")
@click.option("--follow", "is_followed", is_flag=True, help="Stay until the job ends, and exit as it does.")
@address_option
@click.pass_context
def logs_command(context: click.Context, /, address: str, job_id: str, is_followed: bool) -> None:
    """Show what a job has written, from its beginning."""
    server = open_job_server(address)
    if is_followed:
        context.exit(run(follow(server, job_id)))
    server.job(job_id)
    _show(server.logs(job_id))


@jobs_group.command("stop")
@click.argument("job_id", metavar="JOB")
@address_option
def stop_command(address: str, job_id: str) -> None:
    """Stop a job. What it has committed stays, and submitting it again goes on from there.

    It ends within seconds.
    """
    server = open_job_server(address)
    server.stop(job_id)
    job = run(server.follow(job_id, lambda _: None, lambda words: click.echo(f"quire: {words}", err=True)))
    click.echo(_describe(job))


def _describe(job: Job) -> str:
    code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    return f"{job.job_id}  {job.status}{code}  {_clock(job.started)} to {_clock(job.ended)}"


def _clock(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%SZ}" if time else "–"
