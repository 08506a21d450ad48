"""What a job takes along to a cluster: the code, the files that its command line names, and that command line
rewritten.

    quire/ quire_ocr-*.dist-info/   this installation's code, and what makes it known to Python as Quire
    files/                          settings, passwords, manifests of this machine; AWS credentials if asked

Does not know where the folder goes (`flows/ray_jobs.py`).
"""

from __future__ import annotations

import configparser
import importlib.metadata
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import click
from click.core import ParameterSource

import quire.jobs
from quire.errors import ConfigError
from quire.storage.uris import is_remote

CREDENTIALS_FILE = "files/aws-credentials"


def pack_code(folder: Path) -> None:
    """Copy the packages that run here, with their metadata: vLLM finds its plug-in and results find their version
    through it, and Python takes the first metadata that it finds."""
    for package, name in ((quire, "quire"), (quire.jobs, "quire/jobs")):  # side by side in a checkout
        shutil.copytree(
            Path(package.__path__[0]),
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    distribution = importlib.metadata.distribution("quire-ocr")
    metadata = folder / f"quire_ocr-{distribution.version}.dist-info"
    metadata.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (metadata / name).write_text(distribution.read_text(name) or "", encoding="utf-8")


def pack_credentials(folder: Path) -> None:
    """Write the credentials that boto3 finds on this machine to a file that boto3 finds on the cluster."""
    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise ConfigError("--pass-credentials: no AWS credentials are found here")
    frozen = credentials.get_frozen_credentials()
    values = {"aws_access_key_id": frozen.access_key, "aws_secret_access_key": frozen.secret_key}
    if frozen.token:
        values["aws_session_token"] = frozen.token
    file = configparser.RawConfigParser()
    file.read_dict({"default": values})
    path = folder / CREDENTIALS_FILE
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8") as text:
        file.write(text)


def pack_files(folder: Path, context: click.Context) -> dict[str, Any]:
    """Copy the files of this machine that a parsed command names; returns its parameters with the copies' names."""
    parameters = dict(context.params)
    for name in ("config", "passwords"):
        if parameters.get(name):
            parameters[name] = _copied(parameters[name], folder)
    parameters["manifest"] = [_as_packed(uri, folder) for uri in parameters["manifest"]]
    parameters["sources"] = [
        f"@{_as_packed(source[1:], folder)}" if source.startswith("@") else source
        for source in parameters["sources"]
    ]
    return parameters


def _as_packed(uri: str, folder: Path) -> str:
    return uri if is_remote(uri) else _copied(Path(uri), folder)


def _copied(path: Path, folder: Path) -> str:
    """The name of the copy, relative to the folder. No two files share one."""
    files = folder / "files"
    files.mkdir(exist_ok=True)
    name = f"files/{len(list(files.iterdir()))}-{path.name}"
    try:
        shutil.copyfile(path, folder / name)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    return name


def command_line(context: click.Context, parameters: Mapping[str, Any]) -> list[str]:
    """The command line of a parsed command, with these values for its options and arguments."""
    options: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        name = parameter.name
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Option):
            options += _option_words(parameter, parameters[name])
        else:
            arguments += parameters[name] if parameter.nargs != 1 else [parameters[name]]
    return [*options, "--", *arguments]


def _option_words(option: click.Option, value: Any) -> list[str]:
    if option.is_flag:
        return [option.opts[0] if value else option.secondary_opts[0]]
    values = value if option.multiple else [value]
    return [word for item in values for word in (option.opts[0], str(item))]
