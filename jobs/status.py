"""`quire status`: progress, outcomes and failures of a run, from its files alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from quire.jobs.exit_codes import EXIT_FAILED_PAGES, EXIT_SUMS_DISAGREE, EXIT_UNFINISHED
from quire.jobs.options import settings_from, storage_options
from quire.jobs.printable import printable
from quire.planning.limits import limits
from quire.results.ledger import Account, take_account
from quire.results.run_folder import read, versions_of
from quire.storage import Folder, open_folder
from quire.versions import changes


@click.command("status", short_help="Show the progress, outcomes and failures of a run.")
@click.argument("output")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of words.")
@storage_options
@click.pass_context
def status_command(context: click.Context, /, output: str, as_json: bool, **options: Any) -> None:
    """Show how far the run in OUTPUT is, how pages ended, and failures by kind.

    Exits with 0 if all is done and read, 3 if pages or documents failed or are doubtful, 4 if the sums do not agree or
    a file is damaged, and 5 if shards are left to do.
    """
    folder = open_folder(output, settings_from(**options).storage)
    described = read(folder)
    account = take_account(folder)
    versions = versions_of(described)
    if as_json:
        told = {**_as_json(account), "limits": [asdict(limit) for limit in limits(folder)]}
        told |= {"fingerprint": described["fingerprint"], "versions": versions}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{output}: settings {described['fingerprint']}, Quire {described['quire_version']}")
        if changed := changes(versions):
            click.echo(f"versions   of several runs: {changed}")
        click.echo(describe_account(account))
        for line in describe_limits(folder):
            click.echo(line)
    context.exit(_exit_code(account))


def describe_account(account: Account) -> str:
    """The books in words."""
    lines = [
        "documents  " + _counts(account.documents),
        f"shards     {account.num_shards_done} of {account.num_shards} done",
        f"pages      {account.pages.total()} of {account.num_pages} accounted for: " + _counts(account.pages),
    ]
    if account.failures:
        lines.append("failures   " + _counts(account.failures))
    lines += [
        f"  {page.kind:<18}{printable(page.uri)} page {page.page_index + 1}  {printable(page.message)}"
        for page in account.failed
    ]
    if account.failures.total() > len(account.failed):
        lines.append(
            f"  … and {account.failures.total() - len(account.failed)} more; see the table pages, column failure"
        )
    if account.num_doubtful:
        lines.append(f"doubtful   {account.num_doubtful} pages that did not fail: " + _counts(account.marks))
    if account.num_with_embedded_files:
        lines.append(
            f"embedded   {account.num_with_embedded_files} documents have files inside, which are not read; "
            "see the table documents, column detail"
        )
    unread = list(account.unread.items())
    lines += [f"  {status:<12}{printable(uri)}  {printable(detail)}" for uri, (status, detail) in unread[:20]]
    if len(unread) > 20:
        lines.append(f"  … and {len(unread) - 20} more; see the table plan, column status")
    lines += [f"WRONG      {printable(problem)}" for problem in account.problems[:20]]
    return "\n".join(lines)


def describe_limits(folder: Folder) -> list[str]:
    """What the plan leaves out of its sources."""
    return [printable(f"limited    {limit}") for limit in limits(folder)]


def _counts(counts: Any) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"


def _as_json(account: Account) -> dict[str, Any]:
    return {
        "documents": dict(account.documents),
        "pages": dict(account.pages),
        "failures": dict(account.failures),
        "failed_pages": [asdict(page) for page in account.failed],
        "num_doubtful": account.num_doubtful,
        "marks": dict(account.marks),
        "num_with_embedded_files": account.num_with_embedded_files,
        "num_pages": account.num_pages,
        "num_shards": account.num_shards,
        "num_shards_done": account.num_shards_done,
        "problems": account.problems,
    }


def _exit_code(account: Account) -> int:
    if account.problems:
        return EXIT_SUMS_DISAGREE
    if not account.is_complete:
        return EXIT_UNFINISHED
    return EXIT_FAILED_PAGES if account.has_losses() else 0
