"""Committing: a shard's rows become one Parquet file, whole or absent, named after the shard.

The pages file is the checkpoint. It is written only if no other run was first, so a kill at any point leaves either a
finished shard or one that is converted again. What is derived from it (documents, Markdown) is written only by a run
whose rows are those in the file: two runs may read different bytes from a source that changes between them, and only
the committed rows count. A kill between the two writes leaves documents unwritten; `finish` writes them.

Does not know how pages were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from quire.config.sections import TextSettings
from quire.records import Document, DocumentText, PageResult, PageTiming, Shard
from quire.results.assemble import assemble, page_texts
from quire.storage import Folder
from quire.tables.keys import documents_key, markdown_key, pages_key, timings_key
from quire.tables.parquet import put_once, to_parquet
from quire.tables.schema import DOCUMENTS, PAGES, TIMINGS, document_row, page_row, timing_row


@dataclass(frozen=True, slots=True)
class ShardWriter:
    """Writes into one output folder. `provenance`: the columns that are the same for every page of a run."""

    folder: Folder
    provenance: Mapping[str, str]
    text: TextSettings = field(default_factory=TextSettings)

    def write(self, shard: Shard, pages: Sequence[PageResult], timings: Sequence[PageTiming]) -> bool:
        """Commit a shard. Returns False if another run has already committed other rows for it."""
        self._put_table(timings_key(shard.shard_id), map(timing_row, timings), TIMINGS)
        rows = [page_row(page, self.provenance) for page in pages]
        do_count = put_once(self.folder, pages_key(shard.shard_id), to_parquet(rows, PAGES))
        if do_count and shard.documents:
            self.write_documents(f"shard={shard.shard_id}", self._whole_documents(shard, rows))
        return do_count

    def write_documents(self, name: str, documents: Iterable[tuple[Document, DocumentText | None]]) -> None:
        """Write `documents/<name>.parquet`, even if it is empty, and the Markdown files of the documents that have a
        text."""
        rows = []
        for document, text in documents:
            rows.append(document_row(document, text, self.provenance["config_fingerprint"]))
            if text is not None and self.text.write_markdown_files:
                self.folder.put(markdown_key(document), text.markdown_file.encode())
        self._put_table(documents_key(name), rows, DOCUMENTS)

    def _whole_documents(
        self, shard: Shard, rows: Iterable[Mapping[str, object]]
    ) -> Iterator[tuple[Document, DocumentText | None]]:
        texts = page_texts(rows)
        for document in shard.documents:
            planned = shard.page_indices(document.doc_id)
            yield document, assemble(texts[document.doc_id], planned, document.num_pages, self.text)

    def _put_table(self, key: str, rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> None:
        self.folder.put(key, to_parquet(rows, schema))
