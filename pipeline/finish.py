"""After the last shard: what no single shard could write, and the check of the sums.

Documents that span several shards are put together from their pages' rows, and so are those whose shard was killed just
after its commit; documents without pages (encrypted, broken, duplicates) get their row in `documents`. Finishing
again does nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.account import Account, take_account
from pipeline.assemble import DocumentText, PageText, assemble
from pipeline.plan_log import Planned, read_part
from pipeline.records import Outcome
from pipeline.storage import Folder
from pipeline.tables import read_rows
from pipeline.write import ShardWriter, documents_key, pages_key

_COLUMNS = ["page_index", "outcome", "markdown", "num_output_tokens", "failure"]


def finish(folder: Folder, writer: ShardWriter, parts: Sequence[str]) -> Account:
    """Write the rest of `documents` for these parts of the plan, of which every shard is done, and return their books.
    Raises `AccountingError` if they do not balance."""
    account = take_account(folder, parts=parts)
    account.insist()
    written = {info.key for info in folder.list("documents/")}
    for key in parts:
        files: dict[str, list[Planned]] = {}
        for planned in read_part(folder, key):
            files.setdefault(documents_name(key, planned), []).append(planned)
        for name, members in files.items():
            if documents_key(name) not in written:
                writer.write_documents(name, ((p.document, _text(folder, p)) for p in members))
    return account


def documents_name(part_key: str, planned: Planned) -> str:
    """The file of `documents` that holds the row of a document of this part of the plan: one for all documents without
    pages, one for the documents of each shard, and one for each split document, since a long text is held in memory
    while it is written."""
    if not planned.ranges:
        return part_key.removeprefix("plan/").removesuffix(".parquet")
    kind = "shard" if len(planned.ranges) == 1 else "document"
    return f"{kind}={planned.ranges[0][0]}"  # a split document fills its first shard alone


def _text(folder: Folder, planned: Planned) -> DocumentText | None:
    return assemble(_stitch(folder, planned)) if planned.ranges else None


def _stitch(folder: Folder, planned: Planned) -> list[PageText]:
    """A split document's pages, in order, from the shards that have them."""
    pages = [
        PageText(
            page_index=row["page_index"],
            outcome=Outcome(row["outcome"]),
            markdown=row["markdown"],
            num_output_tokens=row["num_output_tokens"],
            failure_kind=row["failure"]["kind"] if row["failure"] else "",
        )
        for shard_id, _, _ in planned.ranges
        for row in read_rows(folder, pages_key(shard_id), _COLUMNS, planned.document.doc_id)
    ]
    return sorted(pages, key=lambda page: page.page_index)
