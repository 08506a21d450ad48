"""What the real planner, writer, listing and books cost for one document and one shard: CPU, memory, requests, bytes.

Documents are made up (about ten pages on average, a few of hundreds), pages are of some 600 words, and the store is in
memory: what is measured is this side alone. Knows nothing of clusters.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from quire.config.sections import PlanSettings
from quire.jobs.bench.simulated_store import SimulatedStore
from quire.planning.plan import plan
from quire.planning.plan_index import load_index
from quire.planning.plan_log import planned_shards
from quire.records import (
    Attempt,
    Block,
    Document,
    DocumentRef,
    DocumentStatus,
    ImageInfo,
    Outcome,
    PageFacts,
    PageRange,
    PageResult,
    PageTiming,
    Recognition,
    Shard,
)
from quire.results.ledger import take_account
from quire.results.write import ShardWriter
from quire.tables.keys import committed_shards, pages_key

_PROVENANCE = dict.fromkeys(("engine", "model", "model_revision", "quire_version", "config_fingerprint"), "x" * 16)
_WORDS = [
    "archive",
    "binding",
    "chapter",
    "column",
    "edition",
    "folio",
    "footnote",
    "glyph",
    "index",
    "ink",
    "ledger",
]


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds are of CPU. Requests of the store are by kind, bytes of a page by folder of the results."""

    pages_per_document: float
    documents_per_shard: float
    plan_s_per_document: float  # without fetching and probing
    index_s_per_document: float  # to load what is planned already
    index_bytes_per_document: float
    read_s_per_document: float  # to read the plan once
    plan_bytes_per_document: float
    commit_s_per_page: float
    commit_requests: dict[str, float]  # of a shard
    bytes_per_page: dict[str, float]
    account_s_per_shard: float
    account_requests: dict[str, float]  # of a shard
    listing_s_per_shard: float
    listing_bytes_per_shard: float


def measure(num_documents: int = 20_000, num_commits: int = 8, num_listed: int = 200_000) -> Costs:
    store = SimulatedStore()
    started = time.process_time()
    asyncio.run(plan_made_up(store, num_documents))
    plan_s = time.process_time() - started
    plan_bytes = sum(store.info(info.key).size_bytes for info in store.list())

    started = time.process_time()
    shards = list(planned_shards(store))
    read_s = time.process_time() - started

    started, before = time.process_time(), _resident_bytes()
    index = load_index(store)
    index_s, index_bytes = time.process_time() - started, _resident_bytes() - before
    del index

    store.requests.clear()
    commit_s = sum(_commit(store, shard) for shard in shards[:num_commits])
    commit_requests = _per(store.requests, num_commits)
    num_pages = sum(shard.num_pages for shard in shards[:num_commits])
    sizes: Counter[str] = Counter()
    for info in store.list():
        sizes[info.key.partition("/")[0]] += info.size_bytes

    before_requests, started = _requests_of_plan(store), time.process_time()
    account = take_account(store)
    account_s = time.process_time() - started - read_s
    if account.num_shards_done != num_commits or account.problems:
        raise RuntimeError(f"the sums do not agree: {account.problems}")
    account_requests = _per(store.requests - before_requests, num_commits)

    for number in range(num_listed):
        store.put(pages_key(hashlib.sha256(str(number).encode()).hexdigest()[:20]), b"")
    started, before = time.process_time(), _resident_bytes()
    done = committed_shards(store)
    listing_s, listing_bytes = time.process_time() - started, _resident_bytes() - before
    return Costs(
        pages_per_document=sum(shard.num_pages for shard in shards) / num_documents,
        documents_per_shard=num_documents / len(shards),
        plan_s_per_document=plan_s / num_documents,
        index_s_per_document=index_s / num_documents,
        index_bytes_per_document=index_bytes / num_documents,
        read_s_per_document=read_s / num_documents,
        plan_bytes_per_document=plan_bytes / num_documents,
        commit_s_per_page=commit_s / num_pages,
        commit_requests=commit_requests,
        bytes_per_page={folder: size / num_pages for folder, size in sizes.items() if folder != "plan"},
        account_s_per_shard=max(0.0, account_s) / num_commits,
        account_requests=account_requests,
        listing_s_per_shard=listing_s / len(done),
        listing_bytes_per_shard=listing_bytes / len(done),
    )


async def plan_made_up(store: SimulatedStore, num_documents: int) -> None:
    """Plan made-up documents with the real planner."""
    async for _ in plan(
        store, map(_ref, range(num_documents)), _probe, PlanSettings(num_fetches=64), "fingerprint"
    ):
        pass


def _ref(number: int) -> DocumentRef:
    name = f"collection-{number % 97:03d}/2025/{number // 1000:06d}/document-{number:09d}.pdf"
    return DocumentRef(f"s3://corpus/{name}", f"{number:032x}", 1_000_000, name)


async def _probe(ref: DocumentRef) -> Document:
    num_pages = max(1, min(2000, round(random.Random(ref.uri).lognormvariate(1.6, 1.2))))
    doc_id = hashlib.sha256(ref.uri.encode()).hexdigest()
    return Document(ref.uri, ref.etag, ref.size_bytes, doc_id, "application/pdf", num_pages, DocumentStatus.OK)


def _commit(store: SimulatedStore, shard: Shard) -> float:
    """Seconds of CPU that the real writer takes to commit a shard."""
    pages = [_page(source, index) for source in shard.ranges for index in range(source.start, source.stop)]
    timings = [PageTiming(page.doc_id, page.page_index, 0.02, 70.0, (70.0,), "host") for page in pages]
    started = time.process_time()
    ShardWriter(store, _PROVENANCE).write(shard, pages, timings)
    return time.process_time() - started


def _page(source: PageRange, page_index: int) -> PageResult:
    draw = random.Random(f"{source.doc_id} {page_index}")
    paragraphs = [" ".join(draw.choices(_WORDS, k=80)) for _ in range(7)]
    text = "\n\n".join(paragraphs)
    return PageResult(
        doc_id=source.doc_id,
        source_uri=source.uri,
        source_etag=source.etag,
        page_index=page_index,
        num_pages=source.num_pages,
        outcome=Outcome.OCR,
        reason="every page with ink is read",
        markdown=text,
        raw_text=text,
        blocks=tuple(Block("text", paragraph, (0.1, 0.2, 0.3, 0.4)) for paragraph in paragraphs),
        recognition=Recognition(text, num_output_tokens=700, mean_logprob=-0.05),
        image=ImageInfo("gundam", 724, 1024, 903, 88.0, hashlib.sha256(text.encode()).hexdigest(), 10_500_000),
        facts=PageFacts(595.0, 842.0, 0.1),
        renderer="mupdf",
        attempts=(Attempt("gundam", 0.0, "ok"),),
    )


def _requests_of_plan(store: SimulatedStore) -> Counter[str]:
    """What reading the plan and listing the shards asks of the store; the count begins anew."""
    store.requests.clear()
    list(planned_shards(store))
    committed_shards(store)
    before = store.requests.copy()
    store.requests.clear()
    return before


def _per(requests: Counter[str], number: int) -> dict[str, float]:
    return {kind: count / number for kind, count in requests.items()}


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
