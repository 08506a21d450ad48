"""Small runs for tests of the report, by the real planner and the real writer, without documents or an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quire.config.sections import PlanSettings, StorageSettings, TextSettings
from quire.config.settings_file import load_settings
from quire.planning.plan import plan
from quire.planning.plan_log import planned_shards
from quire.records import (
    Attempt,
    Document,
    DocumentRef,
    DocumentStatus,
    Failure,
    ImageInfo,
    Outcome,
    PageResult,
    PageTiming,
    Recognition,
)
from quire.results.run_folder import claim, provenance
from quire.results.write import ShardWriter
from quire.storage import Folder, open_folder

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAGES_EACH = 4


@dataclass(frozen=True, slots=True)
class Page:
    """How a page went: the outcomes of its attempts, none for a page that no engine saw: blank, or failed when it was
    rendered if `kind` says so."""

    attempts: tuple[str, ...] = ()
    kind: str = ""
    recognize_s: float = 1.0
    mean_logprob: float | None = -0.1
    num_output_tokens: int = 500

    def result(self) -> PageResult:
        tries = tuple(
            Attempt(("base", "gundam")[rung], 0.2 * rung, name) for rung, name in enumerate(self.attempts)
        )
        kind = self.kind or ("" if not tries or tries[-1].outcome == "ok" else tries[-1].outcome)
        stage = "recognize" if tries else "rasterize"
        outcome = Outcome.FAILED if kind else Outcome.OCR if tries else Outcome.BLANK
        return PageResult(
            *("", "", "", 0, 0, outcome, "because"),
            failure=Failure(stage, kind, f"it was {kind}") if kind else None,  # type: ignore[arg-type]
            markdown="# A title\n\nand its text" if outcome is Outcome.OCR else "",
            raw_text="what the engine said" if tries else "",
            recognition=Recognition("", "stop", self.num_output_tokens, self.mean_logprob) if tries else None,
            image=ImageInfo("base", 724, 1024, 273, 90.0, "", 1),
            attempts=tries,
        )


READ, BLANK, RETRIED = Page(("ok",)), Page(), Page(("loop", "ok"))
GIVEN_UP, UNRENDERED = Page(("loop", "truncated")), Page(kind="render_timeout")


async def write_run(
    output: Path | Folder,
    pages: Sequence[Page],
    unreadable: Sequence[DocumentStatus] = (),
    num_shards: int | None = None,
) -> Folder:
    """A run of documents of four pages, two of them a shard, that end as `pages` say; one page a second, on two hosts
    in turn. `num_shards`: how many are written, None for all."""
    settings = load_settings(None, ["engine.name=scripted"])
    folder = open_folder(str(output), StorageSettings()) if isinstance(output, Path) else output
    claim(folder, settings)
    statuses = [*[DocumentStatus.OK] * (len(pages) // PAGES_EACH), *unreadable]

    async def probe(ref: DocumentRef) -> Document:
        doc_id = hashlib.sha256(ref.name.encode()).hexdigest()
        return Document(
            ref.uri, "1", 1, doc_id, "application/pdf", PAGES_EACH, statuses[int(ref.name)], "a detail"
        )

    refs = (DocumentRef(f"/nowhere/{number}", "1", 1, str(number)) for number in range(len(statuses)))
    async for _ in plan(folder, refs, probe, PlanSettings(pages_per_shard=2 * PAGES_EACH), "f" * 16):
        pass
    writer, upcoming = (
        ShardWriter(folder, provenance(folder, settings), text=TextSettings(write_markdown_files=False)),
        enumerate(pages),
    )
    for shard in list(planned_shards(folder))[:num_shards]:
        results, timings = [], []
        for source in shard.ranges:
            for page_index in range(source.start, source.stop):
                number, page = next(upcoming)
                identity = {"doc_id": source.doc_id, "page_index": page_index}
                results.append(replace(page.result(), source_uri=source.uri, num_pages=PAGES_EACH, **identity))
                timing = PageTiming(**identity, render_s=0.5, recognize_s=page.recognize_s)
                moment = STARTED + timedelta(seconds=number)
                timings.append(replace(timing, host=f"host{number % 2}", finished_at=moment))
        writer.write(shard, results, timings)
    return folder
