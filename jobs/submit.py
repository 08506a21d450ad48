"""`quire submit`: the same command, on a Ray cluster, by its Jobs API.

Decides what a job is called and which variables it gets. What is refused beforehand is in `submission_checks.py`, what
goes along in `packing.py`; it knows Ray only through `pipeline/flows/ray_jobs.py`.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quire.config.results import fingerprint
from quire.config.settings import Settings, environment
from quire.errors import ConfigError, QuireError
from quire.jobs.cluster_jobs import address_option, follow, open_job_server
from quire.jobs.convert import convert_command
from quire.jobs.ending import run
from quire.jobs.nightly import nightly_command
from quire.jobs.packing import CREDENTIALS_FILE, command_line, pack_code, pack_credentials, pack_files
from quire.jobs.plan import plan_command
from quire.jobs.submission_checks import check
from quire.secrets import holds_secret, is_secret

if TYPE_CHECKING:
    from quire.flows.ray_jobs import JobServer

_COMMANDS = {str(command.name): command for command in (convert_command, nightly_command, plan_command)}
_PASSED_ON = (
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL"),
)


@click.command(
    "submit",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@address_option
@click.option("--id", "job_id", help="The job's name. [default: from the command, the output and the settings]")
@click.option(
    "--follow/--detach", "is_followed", default=True, help="Stay and show the log, or leave. [default: --follow]"
)
@click.option(
    "--code/--no-code",
    "with_code",
    default=True,
    help="Send the code that is installed here, so that it is what runs, or run what the nodes have. [default: --code]",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Set a variable in all processes of the job; without a value, as it is here. Everybody who may look at the "
    "cluster sees it. Repeatable.",
)
@click.option(
    "--pass-credentials",
    is_flag=True,
    help="Send the AWS credentials of this machine along, for a cluster whose nodes have no role of their own. Whoever "
    "may run jobs there can read them, and they are not renewed.",
)
@click.argument("command", type=click.Choice(list(_COMMANDS)))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def submit_command(
    context: click.Context,
    /,
    address: str,
    job_id: str | None,
    is_followed: bool,
    with_code: bool,
    variables: tuple[str, ...],
    pass_credentials: bool,
    command: str,
    arguments: tuple[str, ...],
) -> None:
    """Run `quire COMMAND ARGUMENTS` on a Ray cluster. Sources and output are URIs of object stores.

    \b
        quire submit --address http://head:8265 convert s3://corpus/scans --output s3://results/run1 --engine vllm

    Files that the command line names (--config, --passwords, a manifest) go along. The job goes on when this
    terminal goes; `quire jobs` lists, shows, follows and stops. Exits as the command did, with 130 if it was stopped.
    """
    parsed = _COMMANDS[command].make_context(command, list(arguments), parent=context.parent)
    settings = check(parsed)
    _refuse_secrets(command_line(parsed, parsed.params))
    passed_on = _environment(variables)
    output = parsed.params["output"]
    server = open_job_server(address)
    job_id = job_id or _next_name(server, _name(command, output, settings))
    with tempfile.TemporaryDirectory(prefix="quire-job-") as name:
        folder = Path(name)
        words = _pack(folder, parsed, with_code)
        if pass_credentials:
            pack_credentials(folder)
            passed_on["AWS_SHARED_CREDENTIALS_FILE"] = CREDENTIALS_FILE
        if not server.submit(job_id, shlex.join(words), folder, passed_on, {"quire_output": output}):
            raise _taken(job_id)
    click.echo(f"submitted as {job_id}", err=True)
    if is_followed:
        context.exit(run(follow(server, job_id)))
    click.echo(f"Watch it: quire jobs logs --follow {job_id}   Stop it: quire jobs stop {job_id}", err=True)


def _environment(variables: tuple[str, ...]) -> dict[str, str]:
    """The variables of `--env`, and those that say where the object stores are."""
    found = {name: value for name in _PASSED_ON if (value := environment(name))}
    for variable in variables:
        name, equals, value = variable.partition("=")
        if not equals and (value := environment(name)) == "" and not is_secret(name):
            raise ConfigError(f"--env {name}: there is no such variable here")
        found[name] = value
    for name, value in found.items():
        if is_secret(name) or holds_secret(value):
            raise ConfigError(
                f"the variable {name} holds a secret, and everybody who may look at the cluster would see it: set it "
                "on the nodes instead, or use --pass-credentials for AWS"
            )
    return found


def _refuse_secrets(words: Iterable[str]) -> None:
    """A job's command is visible in the cluster's list of jobs and in the list of processes."""
    for word in words:
        if holds_secret(word):
            raise ConfigError(
                f"everybody who may look at the cluster would see the secret in {word}: write settings into a file for "
                "--config, and sources into one for @FILE; they go along as files"
            )


def _name(command: str, output: str, settings: Settings) -> str:
    """The job's name: the same for the same work."""
    digest = hashlib.sha256(f"{output.rstrip('/')} {fingerprint(settings)}".encode()).hexdigest()
    return f"quire-{command}-{digest[:8]}"


def _next_name(server: JobServer, name: str) -> str:
    """The name with a number that no job has had. Raises `QuireError` while a job with this name works. Two callers at
    the same time get the same name; the cluster accepts the first."""
    earlier = [job for job in server.jobs() if is_same_work(job.job_id, name)]
    for job in earlier:
        if not job.has_ended:
            raise _taken(job.job_id)
    return f"{name}-{1 + max((int(job.job_id.rpartition('-')[2]) for job in earlier), default=0)}"


def is_same_work(job_id: str, name: str) -> bool:
    """Whether the id is the name and a number."""
    return re.fullmatch(rf"{re.escape(name)}-\d+", job_id) is not None


def _taken(job_id: str) -> QuireError:
    return QuireError(
        f"the job {job_id} is there already: follow it with `quire jobs logs --follow {job_id}`, stop it with "
        f"`quire jobs stop {job_id}`, or give another --id"
    )


def _pack(folder: Path, parsed: click.Context, with_code: bool) -> list[str]:
    """Fill the folder; returns the command for the cluster."""
    if with_code:
        pack_code(folder)
    verbose = int(parsed.find_root().params.get("verbose", 0))
    on_ray = ["--ray", "auto"] if "ray" in parsed.params else []
    words = [*["-v"] * verbose, str(parsed.command.name), *on_ray]
    return ["python", "-m", "quire.jobs.cli", *words, *command_line(parsed, pack_files(folder, parsed))]
