"""All documents, counted in strata, and a few drawn from each.

A few documents hold most pages, so documents are drawn by size. There is a stratum for each kind and each power of four
of the size in bytes, since a listing gives no better hint at the number of pages; where a plan knows the pages, they
are used instead. The draw depends on the documents' names and the seed, not on the order of the listing. Memory does
not grow with the number of documents.

Knows nothing of what is in a document, and uses a URI's ending only to choose the stratum.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from dataclasses import dataclass, field

from quire.records import Document, DocumentRef

_FEWEST_OF_A_STRATUM = 5  # two are enough for an interval, five for a useful one
_SPREAD_POWER = 0.7
"""Power of a size in bytes: 1 if large files had more pages, 0 if their pages had more bytes. On generated corpora with
heavy tails the intervals were narrowest near this value, and held what they said."""
_IMAGE_ENDINGS = (
    "png",
    "jpg",
    "jpeg",
    "webp",
    "heic",
    "heif",
    "bmp",
    "gif",
    "jp2",
)  # of one page; TIFF may have more

Unit = DocumentRef | Document
"""A document to draw: as listed, or as planned, with its pages known."""


@dataclass(slots=True)
class Stratum:
    """Documents of one kind and size. `num_pages` is None if it is not known; it is for planned documents only.
    `spread` is proportional to how much all its documents together may vary in what is estimated."""

    num_documents: int = 0
    num_bytes: int = 0
    num_pages: int | None = None
    spread: float = 0.0
    kept: list[tuple[int, int, Unit]] = field(default_factory=list)  # a heap, highest rank first


@dataclass(frozen=True, slots=True)
class Drawn:
    stratum: str
    unit: Unit


class Population:
    """Everything that was added, by stratum."""

    def __init__(self, num_documents: int, seed: int = 0) -> None:
        """`num_documents`: about how many to draw; more only if the minimum of every stratum adds up to more."""
        self.strata: dict[str, Stratum] = {}
        self._num_documents = num_documents
        self._seed = seed
        self._numbers = itertools.count()

    @property
    def num_documents(self) -> int:
        return sum(stratum.num_documents for stratum in self.strata.values())

    @property
    def num_bytes(self) -> int:
        return sum(stratum.num_bytes for stratum in self.strata.values())

    def add(self, unit: Unit) -> None:
        """Count a document. One that is added twice counts twice."""
        stratum = self.strata.setdefault(_stratum_of(unit), Stratum())
        size_bytes = max(0, unit.size_bytes)
        stratum.num_documents += 1
        stratum.num_bytes += size_bytes
        if isinstance(unit, Document):
            stratum.num_pages = (stratum.num_pages or 0) + unit.num_pages
        stratum.spread += size_bytes**_SPREAD_POWER
        entry = (-self._rank(name_of(unit)), next(self._numbers), unit)
        if len(stratum.kept) < max(self._num_documents, _FEWEST_OF_A_STRATUM):
            heapq.heappush(stratum.kept, entry)
        else:
            heapq.heappushpop(stratum.kept, entry)

    def draw(self) -> list[Drawn]:
        """A random draw: within a stratum all documents are equally likely; strata with more spread get more draws."""
        strata = [item for item in self.strata.items() if item[1].num_pages != 0]  # 0: nothing to look at
        left, spread_left = self._num_documents, sum(stratum.spread for _, stratum in strata)
        drawn = []
        # Strata of large documents first: draws that they have too few documents for go to the others.
        for name, stratum in sorted(strata, key=lambda item: item[1].spread / item[1].num_documents, reverse=True):
            share = stratum.spread / spread_left if spread_left else 0.0
            number = max(_FEWEST_OF_A_STRATUM, round(left * share))
            chosen = [Drawn(name, unit) for _, _, unit in sorted(stratum.kept, reverse=True)[:number]]
            left, spread_left = max(0, left - len(chosen)), spread_left - stratum.spread
            drawn += chosen
        return drawn

    def _rank(self, name: str) -> int:
        digest = hashlib.blake2b(f"{self._seed} {name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest)


def name_of(unit: Unit) -> str:
    """The name below its source, so that a copy of a bucket gives the same draw."""
    return unit.output_name if isinstance(unit, Document) else unit.name


def _stratum_of(unit: Unit) -> str:
    if isinstance(unit, Document):
        return f"planned, {_class_of(unit.num_pages)} pages"
    ending = unit.name.rpartition(".")[2].lower()
    kind = "pdf" if ending == "pdf" else "image" if ending in _IMAGE_ENDINGS else "other"
    return f"{kind}, {_class_of(unit.size_bytes)} bytes"


def _class_of(number: int) -> str:
    """The range that a number lies in: 1 to 3, 4 to 15, 16 to 63, …"""
    if number <= 0:
        return "no"
    low = 4 ** ((number.bit_length() - 1) // 2)
    return f"{low}–{4 * low - 1}"
