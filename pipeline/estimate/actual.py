"""What a run took, from its files alone, under the names of the estimate's figures."""

from __future__ import annotations

from collections.abc import Mapping

from quire.results.usage import used_hours
from quire.storage import Folder
from quire.tables.keys import committed_shards, pages_key
from quire.tables.parquet import read_many, read_rows

_COLUMNS = ["attempts", "num_image_tokens", "num_output_tokens"]
_RESULTS = ("pages/", "documents/", "markdown/", "timings/", "latents/")


def actual(folder: Folder) -> dict[str, float]:
    """Totals over the committed shards. Tokens are those of each page's last attempt, the only ones that are kept."""
    totals = {"pages": 0.0, "read_pages": 0.0, "image_tokens": 0.0, "output_tokens": 0.0}
    shards = sorted(committed_shards(folder))
    for _, part in read_many(lambda shard_id: _of_shard(folder, shard_id), shards):
        for name, number in part.items():
            totals[name] += number
    return {
        **totals,
        "read_share": _ratio(totals["read_pages"], totals["pages"]),
        "tokens_per_page": _ratio(totals["output_tokens"], totals["read_pages"]),
        "storage_bytes": float(sum(info.size_bytes for name in _RESULTS for info in folder.list(name))),
        "device_hours": used_hours(folder),
    }


def _of_shard(folder: Folder, shard_id: str) -> Mapping[str, int]:
    rows = read_rows(folder, pages_key(shard_id), _COLUMNS)
    read = [row for row in rows if row["attempts"]]
    return {
        "pages": len(rows),
        "read_pages": len(read),
        "image_tokens": sum(row["num_image_tokens"] for row in read),
        "output_tokens": sum(row["num_output_tokens"] for row in read),
    }


def _ratio(above: float, below: float) -> float:
    return above / below if below else 0.0
