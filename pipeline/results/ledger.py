"""The ledger of a run: planned pages compared with written rows, from the files alone.

Every planned page must have exactly one row in `pages`. Shards are checked one at a time, so memory grows only with the
names of documents that could not be read (some 200 bytes each). `finish` and `quire status` take the same account; only
`finish` raises if rows and planned pages differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from quire.errors import AccountingError
from quire.planning.plan_log import CONVERTED, Planned, Replaced, part_keys, read_part, shards_of
from quire.quantities import counted
from quire.records import NUM_EMBEDDED_FILES, Document, DocumentStatus, Outcome, PageRange, Shard
from quire.storage import Folder
from quire.tables.keys import committed_shards, pages_key
from quire.tables.parquet import read_many, read_rows

Row = dict[str, Any]

COLUMNS = ("doc_id", "page_index", "outcome", "failure", "marks")
NUM_NAMED = 20
_NO_LOSS = (DocumentStatus.DUPLICATE, DocumentStatus.IGNORED, DocumentStatus.PARTIAL)


@dataclass(frozen=True, slots=True)
class FailedPage:
    """A page that failed: its document, its index (0-based), and the fields of its `Failure`."""

    doc_id: str
    uri: str
    page_index: int
    stage: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class DoubtfulPage:
    """A page that did not fail, and the kinds of its marks."""

    doc_id: str
    uri: str
    page_index: int
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """A document of a shard that may be planned again: its bytes were gone, or had changed, when they were to be read.
    `is_replaced`: a later part of the plan has it again."""

    shard_id: str
    source: PageRange
    is_replaced: bool


@dataclass(slots=True)
class Account:
    """What a run has done so far. `problems` names every number that does not agree; empty is good.

    `unread` holds the documents of which no page could be planned, unless later planning of the same URI succeeded.
    Duplicates, ignored files and documents whose pages are all left out are not in it. `failed` and `doubtful` name
    only the first `NUM_NAMED` such pages.
    """

    documents: Counter[str] = field(default_factory=Counter)  # by status
    pages: Counter[str] = field(default_factory=Counter)  # by outcome; those that were planned again as "replaced"
    failures: Counter[str] = field(default_factory=Counter)  # failed pages, by kind
    failed: list[FailedPage] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)  # of pages that did not fail, by kind
    doubtful: list[DoubtfulPage] = field(default_factory=list)
    num_doubtful: int = 0  # pages with marks
    num_pages: int = 0
    num_shards: int = 0
    num_shards_done: int = 0
    unread: dict[str, tuple[str, str]] = field(default_factory=dict)  # (status, detail) by URI
    num_with_embedded_files: int = 0  # documents that are converted, and hold files that are not
    problems: list[str] = field(default_factory=list)
    parts: tuple[str, ...] = ()  # keys of the parts of the plan that this account covers
    losses: list[Loss] = field(default_factory=list)
    bytes_again: frozenset[str] = frozenset()  # doc_ids of what was planned again
    objects_again: frozenset[tuple[str, str]] = frozenset()  # (URI, etag), likewise

    @property
    def lost(self) -> frozenset[tuple[str, str]]:
        """(shard_id, doc_id) of all losses, as planning takes them."""
        return frozenset((loss.shard_id, loss.source.doc_id) for loss in self.losses)

    def has_losses(self, tolerated: float | None = None) -> bool:
        """Whether anything was not read, or perhaps not completely. With a `tolerated` share: whether a larger share of
        the pages failed, or of the documents is unread."""
        num_failed, num_unread = self.pages[Outcome.FAILED], len(self.unread)
        if tolerated is None:
            return bool(num_failed or num_unread or self.num_doubtful)
        num_pages = self.pages.total() - self.pages["replaced"]
        return num_failed > tolerated * num_pages or num_unread > tolerated * self.documents.total()

    @property
    def is_complete(self) -> bool:
        return self.num_shards_done == self.num_shards

    def insist(self) -> None:
        """Raise `AccountingError` unless every planned page has exactly one row."""
        problems = list(self.problems)
        if not self.is_complete:
            problems.append(f"{counted(self.num_shards - self.num_shards_done, 'shard')} not written")
        if self.is_complete and not problems and self.pages.total() != self.num_pages:
            num_pages, num_rows = counted(self.num_pages, "page"), counted(self.pages.total(), "row")
            problems.append(f"{num_pages} planned, and {num_rows} written")
        if problems:
            raise AccountingError("the sums do not agree: " + "; ".join(problems[:10]))


def is_bytes_lost(row: Row) -> bool:
    """Whether a page failed because the document's bytes could not be fetched."""
    return isinstance(row["failure"], dict) and row["failure"]["stage"] == "fetch"


def read_account_rows(folder: Folder, shard: Shard) -> list[Row]:
    """A written shard's rows, as far as the account needs them."""
    return read_rows(folder, pages_key(shard.shard_id), list(COLUMNS))


def take_account(
    folder: Folder,
    *,
    parts: Sequence[str] | None = None,
    read: Callable[[Folder, Shard], list[Row]] = read_account_rows,
    observe: Callable[[Shard, list[Row]], None] = lambda shard, rows: None,
    is_loss: Callable[[Row], bool] = is_bytes_lost,
) -> Account:
    """Read the plan and the committed rows of an output folder: all of the plan, or the parts with these keys.

    A caller that needs more of the same rows passes `read` and `observe`. `read` reads a written shard's rows with at
    least `COLUMNS` (in one of several threads). `observe` is called with each shard, in the order of the plan, and its
    rows that count. `is_loss` says which rows make a document of a shard one of the `losses`.
    """
    keys = part_keys(folder) if parts is None else list(parts)
    replaced = Replaced(folder, keys)
    account = Account(parts=tuple(keys), bytes_again=replaced.doc_ids, objects_again=replaced.objects)
    done = committed_shards(folder)  # after the plan: a shard is planned before it is written
    for key in keys:
        part = read_part(folder, key)
        _count_planned(part, account)
        _count_documents((planned for planned in part if not replaced.has(key, planned)), account)
        shards = list(shards_of(part))
        gone_ids = {p.document.doc_id for p in part if p.ranges and replaced.has(key, p)}
        account.num_shards += len(shards)
        written = [shard for shard in shards if shard.shard_id in done]
        for shard, rows in read_many(lambda shard: read(folder, shard), written):
            done.discard(shard.shard_id)
            _check_rows(shard, rows, account)
            account.losses += _losses(shard, rows, gone_ids, is_loss)
            live = [row for row in rows if row["doc_id"] not in gone_ids]
            account.pages += Counter(replaced=len(rows) - len(live))
            _count_pages(shard, live, account)
            observe(shard, live)
    if done and part_keys(folder) == keys:  # otherwise another run has planned them meanwhile
        account.problems.append(f"{counted(len(done), 'page file')} of no planned shard, one of them {min(done)}")
    return account


def _count_planned(part: list[Planned], account: Account) -> None:
    for planned in part:
        document = planned.document
        num_planned = sum(stop - start for _, start, stop in planned.ranges)
        account.num_pages += num_planned
        if not _is_planned_as_it_should(document, num_planned):
            account.problems.append(
                f"{document.uri} has {counted(document.num_pages, 'page')}, {num_planned:,} of them planned"
            )


def _is_planned_as_it_should(document: Document, num_planned: int) -> bool:
    if document.status is DocumentStatus.PARTIAL:
        return num_planned < document.num_pages
    return num_planned == (document.num_pages if document.status in CONVERTED else 0)


def _count_documents(live: Iterable[Planned], account: Account) -> None:
    for planned in live:
        document, status = planned.document, planned.document.status
        account.documents[status.value] += 1
        if status in CONVERTED and NUM_EMBEDDED_FILES in dict(document.metadata):
            account.num_with_embedded_files += 1
        if planned.ranges or status in _NO_LOSS:
            account.unread.pop(document.uri, None)
        else:
            account.unread[document.uri] = (status.value, document.detail)


def _check_rows(shard: Shard, rows: list[Row], account: Account) -> None:
    account.num_shards_done += 1
    if [(row["doc_id"], row["page_index"]) for row in rows] != shard.pages:
        account.problems.append(f"shard {shard.shard_id} has not the rows that were planned for it")
    if any((row["outcome"] == Outcome.FAILED) != isinstance(row["failure"], dict) for row in rows):
        account.problems.append(f"shard {shard.shard_id} has a failed page without a reason, or the reverse")


def _losses(
    shard: Shard, rows: list[Row], gone_ids: Collection[str], is_loss: Callable[[Row], bool]
) -> Iterator[Loss]:
    lost = {row["doc_id"] for row in rows if is_loss(row)}
    for source in shard.ranges:
        if source.doc_id in lost:
            yield Loss(shard.shard_id, source, source.doc_id in gone_ids)


def _count_pages(shard: Shard, rows: list[Row], account: Account) -> None:
    uris = {source.doc_id: source.uri for source in shard.ranges}
    for row in rows:
        account.pages[str(row["outcome"])] += 1
        uri, failure, marks = uris.get(row["doc_id"], ""), row["failure"], row["marks"]
        if marks:
            _count_marks(row, uri, account)
        if isinstance(failure, dict):
            _count_failure(row, uri, account)


def _count_marks(row: Row, uri: str, account: Account) -> None:
    kinds = tuple(str(mark["kind"]) for mark in row["marks"])
    account.marks.update(kinds)
    account.num_doubtful += 1
    if len(account.doubtful) < NUM_NAMED:
        account.doubtful.append(DoubtfulPage(row["doc_id"], uri, row["page_index"], kinds))


def _count_failure(row: Row, uri: str, account: Account) -> None:
    stage, kind, message = (str(row["failure"][name]) for name in ("stage", "kind", "message"))
    account.failures[kind] += 1
    if len(account.failed) < NUM_NAMED:
        account.failed.append(FailedPage(row["doc_id"], uri, row["page_index"], stage, kind, message))
