"""`quire status`: progress, outcomes and failures of a run, from its files alone."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any

import click

from quire.jobs.answer import begin_answer, json_option
from quire.jobs.exit_codes import EXIT_FAILED_PAGES, EXIT_SUMS_DISAGREE, EXIT_UNFINISHED
from quire.jobs.options import settings_from, storage_options
from quire.jobs.printable import printable
from quire.planning.limits import limits
from quire.quantities import counted
from quire.results.ledger import Account, take_account
from quire.results.run_folder import read, versions_of
from quire.storage import Folder, open_folder
from quire.versions import changes

_NUM_UNREAD = 20


@click.command("status")
@click.argument("output")
@json_option
@storage_options
@click.pass_context
def status_command(context: click.Context, /, output: str, as_json: bool, **options: Any) -> None:
    """Show how far the run in OUTPUT is, how pages ended, which failed or are doubtful, and failures by kind.

    Exits with 0 if all is done and read, 3 if pages or documents failed or are doubtful, 4 if the sums do not agree or
    a file is damaged, and 5 if shards are left to do.
    """
    answer = begin_answer(context, as_json)
    folder = open_folder(output, settings_from(**options).storage)
    described = read(folder)
    account = take_account(folder)
    versions = versions_of(described)
    answer.fields = {**ledger_fields(account), "limits": [asdict(limit) for limit in limits(folder)]}
    answer.fields |= {"fingerprint": described["fingerprint"], "versions": versions}
    if not as_json:
        click.echo(f"{output}: settings {described['fingerprint']}, Quire {described['quire_version']}")
        if changed := changes(versions):
            click.echo(f"versions   of several runs: {changed}")
        click.echo(describe_account(account))
        for line in describe_limits(folder):
            click.echo(line)
    context.exit(_exit_code(account))


def describe_account(account: Account) -> str:
    """The ledger in words."""
    lines = [
        "documents  " + _counts(account.documents),
        f"shards     {account.num_shards_done} of {account.num_shards} done",
        f"pages      {account.pages.total()} of {account.num_pages} accounted for: " + _counts(account.pages),
    ]
    if account.failures:
        lines.append("failures   " + _counts(account.failures))
    lines += [
        f"  {page.kind:<18}{printable(page.uri)} page {page.page_index + 1}, {page.stage}: {printable(page.message)}"
        for page in account.failed
    ]
    lines += _more(account.failures.total() - len(account.failed), "pages, column failure")
    if account.num_doubtful:
        lines.append(
            f"doubtful   {counted(account.num_doubtful, 'page')} that did not fail: " + _counts(account.marks)
        )
    lines += [
        f"  {', '.join(page.kinds):<18}{printable(page.uri)} page {page.page_index + 1}"
        for page in account.doubtful
    ]
    lines += _more(account.num_doubtful - len(account.doubtful), "pages, column marks")
    if number := account.num_with_embedded_files:
        have = f"{counted(number, 'document')} {'has' if number == 1 else 'have'}"
        lines.append(f"embedded   {have} files inside, which are not read; see the table documents, column detail")
    lines += [
        f"  {status:<18}{printable(uri)}  {printable(detail)}" for uri, status, detail in _first_unread(account)
    ]
    lines += _more(len(account.unread) - _NUM_UNREAD, "plan, column status")
    lines += [f"WRONG      {printable(problem)}" for problem in account.problems[:20]]
    return "\n".join(lines)


def describe_limits(folder: Folder) -> list[str]:
    """What the plan leaves out of its sources."""
    return [printable(f"limited    {limit}") for limit in limits(folder)]


def ledger_fields(account: Account) -> dict[str, Any]:
    """The ledger for machines; docs/operations.md explains each key."""
    return {
        "documents": dict(account.documents),
        "num_pages": account.num_pages,
        "pages": dict(account.pages),
        "failures": dict(account.failures),
        "failed_pages": [asdict(page) for page in account.failed],
        "num_doubtful": account.num_doubtful,
        "marks": dict(account.marks),
        "doubtful_pages": [asdict(page) for page in account.doubtful],
        "num_unread": len(account.unread),
        "unread_documents": [
            {"uri": uri, "status": status, "detail": detail} for uri, status, detail in _first_unread(account)
        ],
        "num_with_embedded_files": account.num_with_embedded_files,
        "num_shards": account.num_shards,
        "num_shards_done": account.num_shards_done,
        "problems": account.problems,
    }


def _first_unread(account: Account) -> list[tuple[str, str, str]]:
    """(URI, status, detail)."""
    first = itertools.islice(account.unread.items(), _NUM_UNREAD)
    return [(uri, status, detail) for uri, (status, detail) in first]


def _more(number: int, where: str) -> list[str]:
    return [f"  … and {number:,} more; see the table {where}"] if number > 0 else []


def _counts(counts: Any) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"


def _exit_code(account: Account) -> int:
    if account.problems:
        return EXIT_SUMS_DISAGREE
    if not account.is_complete:
        return EXIT_UNFINISHED
    return EXIT_FAILED_PAGES if account.has_losses() else 0
