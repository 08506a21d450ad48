"""`python -m quire.jobs.bench.flow`: are the engines kept busy, and what does that cost?

Runs `quire convert --ray local` on the scripted engine with real rasterization of generated pages, at 1 and 8
engines of 16 slots, at `page150` (6.5 MB a page) and `gundam` (10.5 MB). Two pages of a hundred take 20 times as
long. Each engine's service time is chosen so that all slots together ask for `--rate` pages a second, which the
machine must be able to rasterize.

Reports the share of slots busy in the middle of the run (from a third of the pages, when all processes are up and a
shard has been committed, to the last page that was handed out) and the CPU a page of everything but the renderers,
over the same stretch. Ray's own processes cost about the same a second whatever the rate.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quire.jobs.bench.feed_pages import write_text
from quire.jobs.bench.processes import RENDERERS, ProcessUse, watch

SLOTS = 16
_TAIL_SHARE, _TAIL_FACTOR = 0.02, 20.0
_MEAN_FACTOR = 1 + _TAIL_SHARE * (_TAIL_FACTOR - 1)


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu_ms`: CPU a page by kind of process."""

    busy_share: float
    pages_per_s: float
    cpu_ms: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1200, help="pages a run (default 1200)")
    parser.add_argument("--rate", type=float, default=16.0, help="pages a second that all slots ask for")
    parser.add_argument("--modes", default="page150,gundam")
    parser.add_argument("--engines", default="1,8")
    arguments = parser.parse_args()
    print("| engines x slots | mode | pages/s | slots busy | orchestration CPU ms/page | rendering CPU ms/page |")
    print("|---|---|---|---|---|---|")
    for mode in arguments.modes.split(","):
        for num_engines in map(int, arguments.engines.split(",")):
            measured = run(arguments.pages, arguments.rate, mode, num_engines)
            rendering = measured.cpu_ms.pop(RENDERERS)
            shares = ", ".join(f"{kind} {ms:.1f}" for kind, ms in sorted(measured.cpu_ms.items()))
            print(
                f"| {num_engines} x {SLOTS} | {mode} | {measured.pages_per_s:.1f} | {measured.busy_share:.3f} "
                f"| {sum(measured.cpu_ms.values()):.1f} ({shares}) | {rendering:.1f} |",
                flush=True,
            )


def run(num_pages: int, rate: float, mode: str, num_engines: int) -> Measured:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        _write_documents(root / "in", num_pages)
        seconds = num_engines * SLOTS / rate / _MEAN_FACTOR
        options = {
            "engine.name": "scripted",
            "engine.modes": f'["{mode}"]',
            "scripted.window": SLOTS,
            "scripted.seconds_per_page": seconds,
            "scripted.tail_share": _TAIL_SHARE,
            "scripted.tail_factor": _TAIL_FACTOR,
            "scripted.trace": root / "trace",
            "flow.cache_dir": root / "cache",
            "flow.megabytes_in_flight": 4096,
            "ray.num_engines": num_engines,
            "ray.object_store_mb": 6144,
            "text.write_markdown_files": "false",
        }
        arguments = ["convert", str(root / "in"), "--output", str(root / "out"), "--ray", "local"]
        for name, value in options.items():
            arguments += ["--set", f"{name}={value}"]
        exit_code, uses = watch(arguments)
        if exit_code:
            raise SystemExit(f"quire convert ended with {exit_code}")
        calls = [tuple(map(float, line.split())) for line in (root / "trace").read_text().splitlines()]
        return _measure([(start, end) for start, end in calls], uses, num_engines * SLOTS)


def _measure(calls: Sequence[tuple[float, float]], uses: dict[int, ProcessUse], num_slots: int) -> Measured:
    starts = sorted(start for start, _ in calls)
    begin, end = starts[len(starts) // 3], starts[-1]
    busy = sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in calls)
    num_pages = sum(begin <= start < end for start in starts)

    cpu_ms: dict[str, float] = defaultdict(float)
    for use in uses.values():
        cpu_ms[use.kind] += 1000 * use.cpu_between(begin, end) / num_pages
    return Measured(busy / (num_slots * (end - begin)), num_pages / (end - begin), dict(cpu_ms))


def _write_documents(folder: Path, num_pages: int) -> None:
    """Born-digital pages in documents of 16; the scans of the feed benchmark cost more than this one is about."""
    folder.mkdir()
    for number in range(num_pages // 16):
        write_text(folder / f"document{number:04d}.pdf", 16, columns=1 + number % 2, seed=number)


if __name__ == "__main__":
    main()
