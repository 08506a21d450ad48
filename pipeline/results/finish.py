"""After the last shard: writes what no single shard could, and checks the ledger.

It assembles, from the rows of their pages: documents that span several shards, documents whose run was killed just
after their shard's commit, and Markdown files that an earlier run had switched off. Documents without pages (encrypted,
broken, duplicates) get their row in `documents`. Finishing again changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from functools import lru_cache

from quire.planning.plan_log import Planned, Replaced, read_part
from quire.records import DocumentText, PageText
from quire.results.assemble import assemble, page_texts
from quire.results.ledger import Account, take_account
from quire.results.write import ShardWriter
from quire.storage import Folder
from quire.tables.keys import documents_key, markdown_key, pages_key
from quire.tables.parquet import num_rows, read_many, read_rows

_COLUMNS = ["doc_id", "page_index", "outcome", "markdown", "num_output_tokens", "failure"]


def finish(folder: Folder, writer: ShardWriter, parts: Sequence[str]) -> Account:
    """Write the rest of `documents` for these parts of the plan, and return their account. All their shards must be
    done. Raises `AccountingError` if rows and planned pages differ."""
    account = take_account(folder, parts=parts)
    account.insist()
    written = {info.key for info in folder.list("documents/")}
    replaced = Replaced(folder, parts)
    text = dataclasses.replace(writer.text, write_markdown_files=False)
    table_only = dataclasses.replace(writer, text=text)

    @lru_cache(maxsize=1)  # the end of a split document lies in one shard with the documents after it
    def texts_of(shard_id: str) -> dict[str, list[PageText]]:
        return page_texts(read_rows(folder, pages_key(shard_id), _COLUMNS))

    def text_of(planned: Planned) -> DocumentText | None:
        document = planned.document
        pages = [page for shard_id in planned.shard_ids for page in texts_of(shard_id)[document.doc_id]]
        return assemble(pages, planned.page_indices, document.num_pages, writer.text) if pages else None

    for key in parts:
        for name, members in _unwritten(folder, writer, key, written, replaced).items():
            writer.write_documents(name, ((planned.document, text_of(planned)) for planned in members))
        for name, members in _shrunk(folder, key, written, replaced).items():
            table_only.write_documents(name, ((planned.document, text_of(planned)) for planned in members))
    return account


def _unwritten(
    folder: Folder, writer: ShardWriter, part_key: str, written: Collection[str], replaced: Replaced
) -> dict[str, list[Planned]]:
    """The documents of a part, by their file of `documents`, without the files that exist together with their Markdown.
    Markdown is written before its table, so it is enough to look for that of one document a table."""
    files = _files(folder, part_key, replaced)

    def is_written(name: str) -> bool:
        if documents_key(name) not in written:
            return False
        has_markdown = writer.text.write_markdown_files and any(planned.ranges for planned in files[name][:1])
        return not has_markdown or folder.exists(markdown_key(files[name][0].document))

    return {name: files[name] for name, is_there in read_many(is_written, files) if not is_there}


def _shrunk(
    folder: Folder, part_key: str, written: Collection[str], replaced: Replaced
) -> dict[str, list[Planned]]:
    """Likewise, the files that still have rows of documents that were planned again. The Markdown is left as it is: if
    an object was edited since, the file of its name is already newer."""
    gone = (planned for planned in read_part(folder, part_key) if replaced.has(part_key, planned))
    names = {documents_name(part_key, planned) for planned in gone}
    there = [name for name in sorted(names) if documents_key(name) in written]
    files = _files(folder, part_key, replaced) if there else {}
    return {name: files[name] for name in there if num_rows(folder, documents_key(name)) != len(files[name])}


def _files(folder: Folder, part_key: str, replaced: Replaced) -> dict[str, list[Planned]]:
    """The documents of a part that still count, by their file of `documents`; a file may have none."""
    files: dict[str, list[Planned]] = {}
    for planned in read_part(folder, part_key):
        members = files.setdefault(documents_name(part_key, planned), [])
        if not replaced.has(part_key, planned):
            members.append(planned)
    return files


def documents_name(part_key: str, planned: Planned) -> str:
    """The file of `documents` with the row of this document. A part of the plan has one file for all documents without
    pages, one for the documents of each shard, and one for each split document, because a long text is held in memory
    while it is written."""
    if not planned.ranges:
        return part_key.removeprefix("plan/").removesuffix(".parquet")
    kind = "shard" if len(planned.shard_ids) == 1 else "document"
    return f"{kind}={planned.shard_ids[0]}"  # a split document fills its first shard alone
