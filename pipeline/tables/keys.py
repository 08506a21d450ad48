"""The keys of the tables in an output folder, and which shards are committed.

A shard's pages file is its checkpoint, so its name alone says that it is done. Does not know what the tables hold.
"""

from __future__ import annotations

from quire.records import Document
from quire.storage import Folder


def pages_key(shard_id: str) -> str:
    return f"pages/shard={shard_id}.parquet"


def timings_key(shard_id: str) -> str:
    return f"timings/shard={shard_id}.parquet"


def documents_key(name: str) -> str:
    return f"documents/{name}.parquet"


def markdown_key(document: Document) -> str:
    return f"markdown/{document.output_name}.md"


def shard_id_of(pages_key: str) -> str:
    return pages_key.removeprefix("pages/shard=").removesuffix(".parquet")


def committed_shards(folder: Folder) -> set[str]:
    """The shards that are done, from the names of their files alone."""
    return {shard_id_of(info.key) for info in folder.list("pages/") if info.key.endswith(".parquet")}
