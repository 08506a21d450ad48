"""What `quire submit` refuses before anything is sent. The command would refuse the same, but an hour later and on a
started cluster.

Checks only what can be known here: the engine's packages, and the access to the hub that has a model's revision, are
the cluster's. Knows nothing of Ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from quire.config.settings import Settings
from quire.engines.choose import refuse_contradictions
from quire.engines.ladder import ladder
from quire.errors import ConfigError, NotFound, StorageError
from quire.jobs.options import settings_from_parameters
from quire.planning.discover import discover, manifest_lines
from quire.results.run_folder import refuse_other_settings
from quire.run.inputs import Inputs
from quire.run.plan import check_modes
from quire.storage import open_folder
from quire.storage.uris import SHARED_STORES, is_remote


def check(parsed: click.Context) -> Settings:
    """Raise the `QuireError` that the command would raise at its start; return its settings."""
    parameters = parsed.params
    settings = settings_from_parameters(parameters)
    if parameters.get("ray") is not None:
        raise ConfigError("a job runs on the cluster that it is submitted to: say --address, and leave --ray out")
    Inputs(parameters["sources"], parameters["manifest"], parameters["output"]).insist()
    check_modes([request.mode for request in ladder(settings.engine)])
    refuse_contradictions(settings)
    for uri in _uris(parameters):
        _refuse_local(uri, settings.ray.shared_folders)
    _look_at_storage(parameters, settings)
    return settings


def _uris(parameters: Mapping[str, Any]) -> Iterator[str]:
    """URIs that the cluster's nodes will read and write. A manifest of this machine is sent along, but not the files
    that it lists."""
    yield parameters["output"]
    yield from (source for source in parameters["sources"] if not source.startswith("@"))
    listed = [source[1:] for source in parameters["sources"] if source.startswith("@")]
    for manifest in [*parameters["manifest"], *listed]:
        if not is_remote(manifest):
            yield from _lines(Path(manifest))


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from manifest_lines(path, str(path))
    except OSError as exc:
        raise ConfigError(f"cannot read the manifest {path}: {exc.strerror}") from exc


def _refuse_local(uri: str, has_shared_folders: bool) -> None:
    if is_remote(uri):
        return
    if not has_shared_folders:
        raise ConfigError(
            f"{uri} is on this machine, and the job runs on others: use {SHARED_STORES}, or, if all of them see the "
            "same folders, say --set ray.shared_folders=true"
        )
    if not Path(uri).is_absolute():
        raise ConfigError(f"{uri}: the job has another working directory; write the path in full")


def _look_at_storage(parameters: Mapping[str, Any], settings: Settings) -> None:
    """Whether there is something to read, and whether the output accepts these settings. No access from here is no
    error: the cluster may have it."""
    storage = replace(settings.storage, max_retries=2, retry_timeout_s=20.0)  # a check need not outlast an outage
    try:
        output = open_folder(parameters["output"], storage)
        next(output.list("quire.json"), None)  # its bucket must exist
        refuse_other_settings(output, settings)
        for source in parameters["sources"]:
            if not source.startswith("@"):
                next(discover([source], storage))
    except NotFound:
        raise
    except StorageError as exc:
        click.echo(f"not checked from here, the cluster will: {exc}", err=True)
