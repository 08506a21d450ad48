"""Error rates and speed of the CPU engines, side by side: `python -m quire.jobs.bench.cpu [--corpus DIR] [--fresh]`.

Two kinds of samples: documents with ground truth, and born-digital pages against their text layer. Engines
take turns page by page, so that whatever else the machine does hits all of them alike; compare ratios. Every
engine has one process. Reading order counts: errors are plain edit distances over the whole text.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quire.errors import PageRejected
from quire.jobs.bench.cpu_engines import Contender, contenders
from quire.jobs.bench.cpu_samples import Sample, born_digital_pages, documents_with_truth
from quire.jobs.bench.text_errors import character_error, word_error, word_recall

_BASELINE = "tesseract"


@dataclass(slots=True)
class Score:
    """What one engine did on one kind of sample. Errors are shares of the reference's length."""

    character_errors: list[float] = field(default_factory=list)
    word_errors: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    num_rejected: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--fresh", action="store_true", help="other pages of the born-digital documents")
    parser.add_argument("--details", action="store_true", help="each sample's errors too")
    parser.add_argument("--engines", default="", help="comma-separated names; all that can run by default")
    arguments = parser.parse_args()
    if not arguments.corpus.is_dir():
        parser.error(f"no corpus at {arguments.corpus}")
    wanted = {name for name in arguments.engines.split(",") if name}
    asyncio.run(_compare(arguments.corpus, arguments.fresh, arguments.details, wanted))


async def _compare(corpus: Path, is_fresh: bool, with_details: bool, wanted: set[str]) -> None:
    engines = [engine for engine in contenders() if not wanted or engine.name in wanted]
    kinds = {
        "Documents with ground truth": documents_with_truth(corpus),
        "Born-digital pages against their text layer": born_digital_pages(corpus, is_fresh),
    }
    try:
        for title, samples in kinds.items():
            scores = await _run(samples, engines, with_details)
            print(f"\n{title}: {len(samples)}, {sum(len(sample.pages) for sample in samples)} pages\n")
            print(_table(scores))
    finally:
        for engine in engines:
            await engine.close()


async def _run(samples: Sequence[Sample], engines: Sequence[Contender], with_details: bool) -> dict[str, Score]:
    scores = {engine.name: Score() for engine in engines}
    for number, sample in enumerate(samples):
        texts: dict[str, list[str]] = {engine.name: [] for engine in engines}
        for page_number, page in enumerate(sample.pages):
            turn = (number + page_number) % len(engines)
            for engine in [*engines[turn:], *engines[:turn]]:
                started = time.perf_counter()
                try:
                    texts[engine.name].append(await engine.read(page))
                except PageRejected:
                    scores[engine.name].num_rejected += 1
                scores[engine.name].seconds.append(time.perf_counter() - started)
        for name, pages in texts.items():
            _add(scores[name], "\n\n".join(pages), sample.reference)
        if with_details:
            errors = "  ".join(f"{name} {scores[name].character_errors[-1]:.1%}" for name in texts)
            print(f"{sample.name}: {errors}", flush=True)
    return scores


def _add(score: Score, text: str, reference: str) -> None:
    score.character_errors.append(character_error(text, reference))
    score.word_errors.append(word_error(text, reference))
    score.recalls.append(word_recall(text, reference))


def _table(scores: dict[str, Score]) -> str:
    lines = [
        "| engine | CER mean / median | WER mean / median | word recall | pages/s | time against tesseract |",
        "|---|---|---|---|---|---|",
    ]
    baseline = scores.get(_BASELINE)
    for name, score in scores.items():
        ratio = f"{_time_ratio(score, baseline):.2f}" if baseline else "–"
        note = f" ({score.num_rejected} pages rejected)" if score.num_rejected else ""
        lines.append(
            f"| {name}{note} | {_pair(score.character_errors)} | {_pair(score.word_errors)} "
            f"| {statistics.fmean(score.recalls):.1%} | {1 / statistics.fmean(score.seconds):.2f} | {ratio} |"
        )
    return "\n".join(lines)


def _pair(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.1%} / {statistics.median(values):.1%}"


def _time_ratio(score: Score, baseline: Score) -> float:
    """Median over pages of the time relative to the baseline's for the same page."""
    return statistics.median(a / b for a, b in zip(score.seconds, baseline.seconds, strict=True))


if __name__ == "__main__":
    if importlib.util.find_spec("rapidfuzz") is None:
        raise SystemExit("rapidfuzz is not installed: pip install rapidfuzz")
    main()
