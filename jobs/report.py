"""`quire report`: a run on one self-contained HTML page, from its files and its source documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quire.config.extras import REPORT, install
from quire.config.settings import Settings
from quire.errors import MissingDependency
from quire.jobs.ending import run
from quire.jobs.options import read_passwords, settings_from, storage_options
from quire.jobs.status import describe_account
from quire.meters.progress import Progress
from quire.results.run_folder import read
from quire.storage import open_folder

if TYPE_CHECKING:  # matplotlib and jinja2 are an optional extra
    from quire.report.excerpts import Key
    from quire.report.notable import NotablePage
    from quire.report.thumbnails import Thumbnail

KEY = "report/index.html"
_THUMBNAIL_CPU_S = 10.0


@click.command("report")
@click.argument("output")
@click.option(
    "--thumbnails/--no-thumbnails",
    default=True,
    help="Render the pages shown from the source documents, which are fetched for it.  [default: yes]",
)
@click.option(
    "--passwords",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with one password a line, for thumbnails of encrypted documents. Never stored.",
)
@storage_options
def report_command(output: str, thumbnails: bool, passwords: Path | None, **options: Any) -> None:
    """Write report/index.html into OUTPUT: what became of the documents, throughput, attempts, tokens, failures, the
    slowest and the worst pages, and the settings.

    The page loads nothing and runs no script. A run that is not finished is reported as far as it is.
    """
    uri = write_report(output, settings_from(**options), read_passwords(passwords), thumbnails)
    click.echo(f"Report: {uri}")


def write_report(output: str, settings: Settings, passwords: tuple[str, ...], with_thumbnails: bool) -> str:
    """Returns the page's URI."""
    try:
        from quire.report import page
        from quire.report.excerpts import read_excerpts
        from quire.report.survey import survey
    except ImportError as exc:
        raise MissingDependency(f"quire report needs jinja2 and matplotlib: {install([REPORT])}") from exc
    folder = open_folder(output, settings.storage)
    described = read(folder)
    found = survey(folder)
    click.echo(describe_account(found.account))
    shown = [*found.worst.pages(), *found.slowest.pages()]
    report = page.Report(
        uri=folder.uri,
        made_at=datetime.now(UTC),
        survey=found,
        described=described,
        excerpts=read_excerpts(folder, shown),
        thumbnails=_thumbnails(shown, _as_converted(settings, described), passwords) if with_thumbnails else {},
    )
    folder.put(KEY, page.to_html(report).encode())
    return f"{folder.uri.removesuffix('/')}/{KEY}"


def _as_converted(settings: Settings, described: Mapping[str, Any]) -> Settings:
    """With the renderer that the run had, and the smaller CPU limit of thumbnails."""
    renderer = described["settings"].get("render.renderer", settings.render.renderer)
    return replace(settings, render=replace(settings.render, renderer=renderer, page_cpu_s=_THUMBNAIL_CPU_S))


def _thumbnails(
    pages: list[NotablePage], settings: Settings, passwords: tuple[str, ...]
) -> Mapping[Key, Thumbnail]:
    from quire.report.thumbnails import render_thumbnails

    with Progress("thumbnails", total=len({page.key for page in pages})) as progress:
        return run(
            render_thumbnails(pages, settings, passwords, lambda num_done: progress.show({"rendered": num_done}))
        )
