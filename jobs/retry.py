"""`--retry-failed`: plans again what an earlier run recorded as failed."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import click

from quire.config.settings import Settings
from quire.planning.plan_log import CONVERTED
from quire.quantities import counted
from quire.records import DocumentStatus
from quire.results.ledger import Row, take_account
from quire.run.inputs import Inputs
from quire.storage import open_folder

retry_option = click.option(
    "--retry-failed",
    is_flag=False,
    flag_value="",
    metavar="[=KIND]",
    help="Try again what earlier runs wrote down as failed: documents with failed pages, and those that could not be "
    "read. With KIND only what failed so, or is doubtful so, as `quire status` names it. The rows of before count as "
    "replaced.",
)
_KIND = re.compile(r"[a-z_]*")
_NEVER_FAILED = (DocumentStatus.OK, DocumentStatus.PARTIAL, DocumentStatus.DUPLICATE, DocumentStatus.IGNORED)


def with_failed(inputs: Inputs, settings: Settings, kind: str) -> Inputs:
    """The inputs, with what of them is to be tried again: documents with a failed page, and documents that could not be
    read. With a `kind`, only those that failed with it or are marked with it. Says how many there are."""
    if not _KIND.fullmatch(kind) or (kind and os.path.exists(kind)):  # a source, taken for the kind
        raise click.UsageError(
            f"--retry-failed takes a kind after an equals sign (--retry-failed=KIND), not {kind!r}"
        )
    account = take_account(open_folder(inputs.output, settings.storage), is_loss=lambda row: _is_failed(row, kind))
    statuses = [status for status in DocumentStatus if status not in _NEVER_FAILED]
    wanted = [status for status in statuses if (status == kind if kind else status not in CONVERTED)]
    num_converted = len({loss.source.doc_id for loss in account.losses if not loss.is_replaced})
    num_unread = sum(account.documents[status] for status in wanted)
    what = f"that failed as {kind}" if kind else "that failed"
    known = {**account.failures, **account.marks, **{s: account.documents[s] for s in statuses}}
    there = ", ".join(sorted(name for name, number in known.items() if number)) or "nothing"
    click.echo(
        f"trying again {counted(num_converted, 'converted document')} and {num_unread:,} unread {what}"
        + ("" if num_converted or num_unread else f"; what failed or is doubtful there: {there}"),
        err=True,
    )
    return replace(inputs, lost=account.lost, retry=(DocumentStatus.UNREADABLE, *wanted))


def _is_failed(row: Row, kind: str) -> bool:
    """Whether a page's row failed with this kind or is marked with it; any failure if `kind` is empty."""
    failure = row["failure"]
    if not kind:
        return failure is not None
    return kind in (failure and failure["kind"], *(mark["kind"] for mark in row["marks"] or ()))
