"""The options that several commands share, and what they mean together.

Command-line options are short forms of the settings in `pipeline/config/`: each option sets one setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from quire.budget.prices import GPU_PRICES
from quire.config.engines import KINDS, OFFERED
from quire.config.settings import Settings
from quire.config.settings_file import Loaded, load_with_origins
from quire.errors import ConfigError
from quire.jobs.completion import setting_names

_Command = TypeVar("_Command", bound=Callable[..., Any])

_SHORTHANDS = {
    "engine": "engine.name",
    "latents": "engine.latents",
    "pages": "plan.pages",
    "renderer": "render.renderer",
    "endpoint_url": "storage.endpoint_url",
    "region": "storage.region",
    "anonymous": "storage.anonymous",
    "path_style": "storage.path_style",
    "ray": "ray.address",
    "metrics_port": "metrics.port",
    "engines": "ray.num_engines",
    "sample": "cost.sample_documents",
    "gpu": "cost.gpu",
    "gpu_price": "cost.price_per_hour",
    "pages_per_gpu_day": "cost.pages_per_gpu_day",
    "max_gpu_hours": "cost.max_gpu_hours",
    "max_cost": "cost.max_cost",
    "canary": "canary.enabled",
    "max_failed_share": "flow.max_failed_share",
}


def sources_and_output(command: _Command) -> _Command:
    """SOURCES, --manifest, --output, --passwords."""
    decorators = [
        click.argument("sources", nargs=-1),
        click.option(
            "--manifest",
            multiple=True,
            metavar="FILE",
            help="A file (local, or a URI) with one URI or path a line; may be given with SOURCES or instead of them.",
        ),
        click.option(
            "--output",
            required=True,
            metavar="URI",
            help="Where results go: s3://…, gs://…, az://… or a local folder.",
        ),
        click.option(
            "--passwords",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="A file with one password a line, each tried on encrypted documents. Never stored.",
        ),
        click.option(
            "--pages",
            metavar="RANGES",
            help="Read only these pages of each document, counted from 1, like 1-5,9 or 3-. A document of which others "
            "are left out is 'partial' in all tables.",
        ),
    ]
    return _apply(command, decorators)


limit_option = click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take only the first N documents, for a trial: in the order of SOURCES and manifests, within each by name. "
    "The same N the next time; a higher one, or none, goes on with the rest. What is planned in --output and not "
    "converted yet is converted first; where that is more than N documents, nothing is begun.",
)


def settings_options(command: _Command) -> _Command:
    """Everything that changes settings."""
    decorators = [
        click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Settings as a TOML file. Options on the command line win over it.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            shell_complete=setting_names,
            help="Change any setting: `quire settings` lists them. A list is written a,b. Repeatable.",
        ),
        click.option(
            "--engine",
            type=click.Choice([kind.name for kind in KINDS]),
            metavar=f"[{'|'.join(OFFERED)}]",
            help="What reads the pages; see quire engines.",
        ),
        click.option("--renderer", type=click.Choice(["mupdf", "pdfium"]), help="What renders PDF pages first."),
        *storage_decorators(),
    ]
    return _apply(command, decorators)


def flow_options(command: _Command) -> _Command:
    """--ray, --latents, --metrics-port: where pages are converted, what is kept of them, and who may watch."""
    decorators = [
        click.option(
            "--ray",
            metavar="ADDRESS",
            help="Run on Ray: 'auto' joins RAY_ADDRESS or else starts a cluster on this machine, 'local' always "
            "starts one, anything else is the address of a cluster.",
        ),
        click.option(
            "--latents",
            type=click.Choice(["off", "keep", "reuse"]),
            help="What DeepSeek-OCR's encoder makes of each page: keep it in the output folder's latents/, and with "
            "reuse look there first, so that another prompt or a retry skips the encoder.",
        ),
        click.option(
            "--metrics-port",
            type=int,
            metavar="PORT",
            help="Serve metrics for Prometheus here while the run lasts; a cluster that is there already serves "
            "its own.",
        ),
    ]
    return _apply(command, decorators)


def cost_options(command: _Command) -> _Command:
    """What an hour costs."""
    decorators = [
        click.option("--gpu", type=click.Choice(list(GPU_PRICES)), help="The type of GPU that is reckoned with."),
        click.option(
            "--gpu-price",
            type=click.FloatRange(min=0),
            metavar="USD",
            help="What a GPU (a core, for engines on CPUs) costs an hour. [default: a round list price]",
        ),
    ]
    return _apply(command, decorators)


def limit_options(command: _Command) -> _Command:
    """What stops a run before its end."""
    decorators = [
        click.option(
            "--max-gpu-hours",
            type=click.FloatRange(min=0),
            metavar="HOURS",
            help="Begin no shard that would take all runs into --output beyond so many GPU-hours (core-hours, for "
            "engines on CPUs); what is open is finished.",
        ),
        click.option(
            "--max-cost", type=click.FloatRange(min=0), metavar="USD", help="The same for what they cost."
        ),
        click.option(
            "--canary/--no-canary",
            default=None,
            help="Convert one shard in a hundred of what is left first, and stop if loops, failures, tokens a page or "
            "the agreement with text layers are off. [default: where 100 shards or more are left]",
        ),
        click.option(
            "--max-failed-share",
            type=click.FloatRange(min=0, max=1),
            metavar="SHARE",
            help="How many of the pages may fail, and of the documents be unreadable: a run that keeps it ends with 0 "
            "and not 3, also if pages are doubtful; one that clearly will not begins no more shards.",
        ),
    ]
    return _apply(command, decorators)


def storage_options(command: _Command) -> _Command:
    """How the object store is reached, for commands that only read results."""
    return _apply(command, storage_decorators())


def storage_decorators() -> list[Callable[[_Command], _Command]]:
    return [
        click.option("--endpoint-url", metavar="URL", help="An S3 endpoint other than AWS."),
        click.option("--region", help="The bucket's region, if the AWS configuration does not say."),
        click.option(
            "--anonymous", is_flag=True, default=None, help="Send unsigned requests, for public buckets."
        ),
        click.option(
            "--path-style/--virtual-style",
            default=None,
            help="Address buckets in the path or in the host name. [default: path style with --endpoint-url]",
        ),
    ]


def settings_from(config: Path | None = None, overrides: Sequence[str] = (), **options: Any) -> Settings:
    """Settings from the file, then the short options, then --set. Raises `ConfigError`."""
    return load_from(config, overrides, **options).settings


def load_from(config: Path | None = None, overrides: Sequence[str] = (), **options: Any) -> Loaded:
    """`settings_from`, with where each came from."""
    short = [f"{_SHORTHANDS[name]}={_toml(value)}" for name, value in options.items() if value is not None]
    return load_with_origins(config, [*short, *overrides])


def settings_from_parameters(parameters: Mapping[str, Any]) -> Settings:
    """Settings from all parameters of a command that has `settings_options`; others are ignored."""
    known = {*_SHORTHANDS, "config", "overrides"}
    return settings_from(**{name: value for name, value in parameters.items() if name in known})


def read_passwords(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        # Some editors begin a file with a byte order mark, which is not part of the first password.
        return tuple(line for line in path.read_text(encoding="utf-8-sig").splitlines() if line)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"cannot read the passwords file {path}: it has to be UTF-8, one password a line"
        ) from exc


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _apply(command: _Command, decorators: Sequence[Callable[[_Command], _Command]]) -> _Command:
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
