"""Quire turns buckets of documents into training data.

    import quire

    account = quire.convert("docs/", "out/", engine="rapidocr")
    for document in quire.open_run("out/").documents:
        print(document["source_uri"], len(document["text"] or ""))

    bucket/folder ─ discover ─► plan ─► shards ─► ┌─────────── one shard ───────────┐ ─► finish ─► status
       (storage)    list keys   probe     ≤ 256   │ rasterize ► recognize ► parse   │    join split documents,
                                sha256,   pages   │           ► assemble ► write    │    check the sums
                                pages             └─ commit = its Parquet file ─────┘

Two phases. Planning needs CPUs only: it lists objects, fetches each new one once, takes its sha256, type and page
count, drops exact duplicates and cuts shards. Converting takes shards. A shard is committed as a whole. Pages are
what is counted: every planned page ends in exactly one row of `pages`.

The names below are the library. Each is imported when it is asked for, since child processes import this package, too.
To learn how it works, read `run/convert.py`, then `conversion/shard.py`, then the package of a stage. The records
that go between packages are in `records.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quire.api.conversion import convert, convert_async, plan
    from quire.api.page import PageReader, read_page
    from quire.api.results import Run, open_run
    from quire.errors import QuireError

_PLACES = {
    "plan": "quire.api.conversion",
    "convert": "quire.api.conversion",
    "convert_async": "quire.api.conversion",
    "read_page": "quire.api.page",
    "PageReader": "quire.api.page",
    "open_run": "quire.api.results",
    "Run": "quire.api.results",
    "QuireError": "quire.errors",
}

__all__ = ["PageReader", "QuireError", "Run", "convert", "convert_async", "open_run", "plan", "read_page"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
