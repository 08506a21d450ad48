"""`python -m quire.jobs.bench.memory`: peak memory of each process on one document of 5,000 pages.

Memory is bounded by bytes in flight, not by pages: a run of a longer document must not need more. Generates the
document, converts it with the scripted engine at `page150`, and samples resident memory ten times a second.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

from quire.jobs.bench.feed_pages import write_text
from quire.jobs.bench.processes import watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, nargs="+", default=[500, 5000], help="one run for each number")
    parser.add_argument("--ray", action="store_true", help="on Ray instead of this process and its children")
    arguments = parser.parse_args()
    print("| pages | process | number | peak resident MB of the largest |")
    print("|---|---|---|---|")
    for num_pages in arguments.pages:
        for kind, peaks in sorted(peaks_of(num_pages, arguments.ray).items()):
            print(f"| {num_pages} | {kind} | {len(peaks)} | {max(peaks) / 1e6:.0f} |", flush=True)


def peaks_of(num_pages: int, on_ray: bool) -> dict[str, list[int]]:
    """Peak resident bytes of every process, by kind."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_text(root / "long.pdf", num_pages)
        options = ["engine.name=scripted", "scripted.window=8", "scripted.seconds_per_page=0.05"]
        options += [f"flow.cache_dir={root / 'cache'}", "flow.megabytes_in_flight=256", "ray.object_store_mb=1024"]
        arguments = ["convert", str(root / "long.pdf"), "--output", str(root / "out")]
        for option in options:
            arguments += ["--set", option]
        exit_code, uses = watch(arguments + (["--ray", "local"] if on_ray else []), interval_s=0.1)
        if exit_code:
            raise SystemExit(f"quire convert ended with {exit_code}")
    peaks: dict[str, list[int]] = defaultdict(list)
    for use in uses.values():
        peaks[use.kind].append(use.peak_rss_bytes)
    return peaks


if __name__ == "__main__":
    main()
