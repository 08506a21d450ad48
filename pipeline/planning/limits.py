"""A note in the output folder that a run took only the first documents of its sources. It holds until a run takes all.

One file for each list of sources, so that runs with different sources do not collide. Does not know how documents are
found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from quire.errors import DamagedResults
from quire.records import DocumentRef
from quire.storage import Folder

_NONE = b"{}\n"


@dataclass(frozen=True, slots=True)
class Limit:
    """A run took only the first `num_documents` of these sources, and no later run has taken the rest."""

    sources: tuple[str, ...]
    num_documents: int

    def __str__(self) -> str:
        return (
            f"of {', '.join(self.sources)} only the first {self.num_documents} documents were taken; the rest is still "
            "to be planned: run without --limit"
        )


def first(
    refs: Iterator[DocumentRef], number: int, left_out: Callable[[DocumentRef], object]
) -> Iterator[DocumentRef]:
    """The first `number` of them. Calls `left_out` with the next one if there are more."""
    yield from islice(refs, number)
    if (ref := next(refs, None)) is not None:
        left_out(ref)


def note_limit(folder: Folder, limit: Limit) -> None:
    told = {"sources": limit.sources, "num_documents": limit.num_documents}
    folder.put(_key(limit.sources), json.dumps(told, indent=2).encode() + b"\n")


def forget_limit(folder: Folder, sources: Sequence[str]) -> None:
    """The rest was taken. Overwrites the note, because a run may have no permission to delete."""
    if folder.exists(_key(sources)):
        folder.put(_key(sources), _NONE)


def limits(folder: Folder) -> list[Limit]:
    """All limits that still hold. Raises `DamagedResults`."""
    return [limit for info in folder.list("limits/") if (limit := _read(folder, info.key)) is not None]


def _read(folder: Folder, key: str) -> Limit | None:
    try:
        told = json.loads(folder.get(key))
        if not told:
            return None
        return Limit(tuple(map(str, told["sources"])), int(told["num_documents"]))
    except (ValueError, TypeError, KeyError) as exc:
        raise DamagedResults(f"{folder.uri}/{key} is damaged: delete it, it is only a note") from exc


def _key(sources: Sequence[str]) -> str:
    return f"limits/{hashlib.sha256(json.dumps(sorted(sources)).encode()).hexdigest()[:16]}.json"
