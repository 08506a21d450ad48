"""`quire nightly`: bring the corpus up to date with what the inputs hold now, and say what changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from quire.config.settings import Settings
from quire.errors import TooManyGone
from quire.jobs.answer import begin_answer, json_option
from quire.jobs.ending import run
from quire.jobs.exit_codes import EXIT_FAILED_PAGES
from quire.jobs.night_report import NightReport
from quire.jobs.options import (
    cost_options,
    flow_options,
    limit_options,
    read_passwords,
    settings_from,
    settings_options,
    sources_and_output,
)
from quire.jobs.retry import retry_option, with_failed
from quire.jobs.terminal import Terminal
from quire.nights.changes import Known, gone_objects, known_objects, next_night, unknown_refs
from quire.nights.log import commit_night, latest_night, night_key
from quire.nights.look_up import look_up
from quire.records import DocumentRef, DocumentStatus
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.run.observer import Observer
from quire.storage import open_folder


@click.command("nightly")
@sources_and_output
@settings_options
@flow_options
@cost_options
@limit_options
@retry_option
@click.option(
    "--allow-deletions",
    is_flag=True,
    help="Go on even if more than nightly.max_gone_share (half) of the live objects are gone.",
)
@json_option
@click.pass_context
def nightly_command(
    context: click.Context,
    /,
    sources: tuple[str, ...],
    manifest: tuple[str, ...],
    output: str,
    passwords: Path | None,
    ray: str | None,
    allow_deletions: bool,
    retry_failed: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert what is new or has changed in SOURCES, and record which objects came, changed, moved and went.

    SOURCES are what `quire convert` takes, and all of what the corpus is to hold: what they no longer have is deleted
    from it. The newest file in OUTPUT/nights says what is live. Bytes that were read once are not read again, and
    runs that overlap or are killed do no harm: the next one goes on.

    \b
    Exit codes: 0  the corpus is up to date, and what is new was read, or as much as --max-failed-share wants
                3  up to date; some new pages or documents failed, are doubtful, or could not be fetched
                6  a limit or the canary stopped it; what is converted stays, and no night is recorded
                7  too many objects are gone at once: nothing was done; see --allow-deletions
                4  the sums do not agree, or a file of the results is damaged
                1  stopped by an error, 2 wrong usage, 70 a fault of Quire, 130 interrupted
    """
    answer = begin_answer(context, as_json)
    settings = settings_from(ray=ray, **options)
    inputs = Inputs(sources, manifest, output, read_passwords(passwords))
    if retry_failed is not None:
        inputs = with_failed(inputs, settings, retry_failed)
    report = run(nightly(inputs, settings, ray is not None, allow_deletions, Terminal()))
    answer.fields = report.as_json()
    click.echo(report.describe())
    if report.has_failures(settings.flow.max_failed_share):
        context.exit(EXIT_FAILED_PAGES)


async def nightly(
    inputs: Inputs,
    settings: Settings,
    use_ray: bool,
    allow_deletions: bool = False,
    observer: Observer | None = None,
) -> NightReport:
    """List, convert what is new, and record the night. Raises `TooManyGone`.

    A night is recorded only if no other run has recorded one since this run began to list. So an older listing never
    replaces a newer one. Of two runs at the same time, the second to record starts again and finds little left to do.
    """
    inputs.insist()
    observer = observer or Observer()
    started = time.monotonic()
    folder = open_folder(inputs.output, settings.storage)
    retry = [*inputs.retry, *([DocumentStatus.ENCRYPTED] if inputs.passwords else [])]
    lost, is_second_time = inputs.lost, False
    while True:
        last = await asyncio.to_thread(latest_night, folder)
        listing = await asyncio.to_thread(lambda: {ref.uri: ref for ref in inputs.refs(settings)})
        known = known_objects(last)
        if not allow_deletions:
            check_gone(known, listing, settings.nightly.max_gone_share)
        tonight = replace(inputs, listing=tuple(listing.values()), lost=lost)
        account = await convert(tonight, settings, use_ray, observer)
        refs = list(unknown_refs(known, listing, retry, account.bytes_again, account.objects_again))
        found = await asyncio.to_thread(look_up, folder, account.parts, refs, account.lost)
        if found.lost and not is_second_time:  # they changed while being read: list and plan them again
            lost, is_second_time = lost | account.lost, True
            continue
        night = next_night(last, known, listing, found.contents)
        if night is None or await asyncio.to_thread(commit_night, folder, night):
            break
        observer.say(f"another run recorded night {night.number} meanwhile; looking again")
    seconds = time.monotonic() - started
    report = NightReport.of(inputs.output, night or last, night is not None, known, found, seconds)
    if night is not None:
        words = report.describe() + "\n"
        await asyncio.to_thread(folder.put_if_absent, night_key(night.number, "txt"), words.encode())
    return report


def check_gone(known: Mapping[str, Known], listing: Mapping[str, DocumentRef], max_share: float) -> None:
    """Raises `TooManyGone` if more than `max_share` of the known objects are not listed."""
    gone = gone_objects(known, listing)
    if len(gone) > max_share * len(known):
        raise TooManyGone(
            f"{len(gone)} of {len(known)} objects are gone at once, one of them {min(gone)!r}; nothing of that was "
            f"recorded. If the sources are complete and that is right, run again with --allow-deletions "
            f"(the limit is the setting nightly.max_gone_share, now {max_share:g})"
        )
