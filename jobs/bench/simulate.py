"""How far does one run scale, and what gives way first?

    python -m quire.jobs.bench.simulate [--gpus 160] [--pages-per-day 33e6] [--documents 500e6]

`costs` measures the real planner, writer, listing and books on this machine. `day` and `corpus` carry that over to a
day of the cluster and to a corpus of many documents: arithmetic, no more. `run` simulates the cluster in virtual time,
with the real queue, admission, `convert_shard` and engine pool, without and with nodes that are lost.

The simulated cluster has fewer slots an engine and fewer nodes than the one asked for, since each page costs this
machine most of a millisecond; a page takes as long in its slot, and a shard holds as many, as on the real one.
`docs/scale.md` discusses the figures.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from quire.budget.gate import open_shards
from quire.config.sections import PlanSettings
from quire.config.settings import Settings
from quire.jobs.bench.scale_costs import Costs, measure, plan_made_up
from quire.jobs.bench.simulated_cluster import Cluster, Run, convert_simulated
from quire.jobs.bench.simulated_store import KEYS_PER_LISTING, SECONDS, SimulatedStore
from quire.jobs.bench.virtual_time import VirtualTimeLoop, run
from quire.planning.plan_log import planned_shards
from quire.tables.keys import committed_shards

_PUTS_PER_SECOND = 3500  # of one prefix of a bucket, by Amazon's guide to performance
_PROBE_SECONDS = 0.02  # CPU of probing a small PDF in its process: 150 drawn ones, measured once
_PLAN_READS = (
    8  # by `quire convert`: index, totals and pages done (twice each), shards, books, left-over documents
)
_DAY = 86400.0
_PARTS = ("costs", "day", "corpus", "run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=160)
    parser.add_argument("--pages-per-day", type=float, default=33e6)
    parser.add_argument("--documents", type=float, default=500e6)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--nodes", type=int, default=3, help="simulated, of 8 engines each")
    parser.add_argument("--slots", type=int, default=16, help="simulated, of an engine; a real one has 256")
    parser.add_argument("--hours", type=float, default=1.0, help="simulated, of pages")
    parser.add_argument("--losses", default="0,0.2,1", help="of a node, an hour")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # each engine that is lost says so
    pages_per_s = arguments.pages_per_day / _DAY
    if set(arguments.parts) - {"run"}:
        costs = measure()
        if "costs" in arguments.parts:
            _print_costs(costs)
        if "day" in arguments.parts:
            _print_day(costs, arguments.gpus, pages_per_s)
        if "corpus" in arguments.parts:
            _print_corpus(costs, arguments.documents, pages_per_s)
    if "run" in arguments.parts:
        slots = arguments.nodes * 8 * arguments.slots
        cluster = Cluster(
            num_nodes=arguments.nodes,
            window=arguments.slots,
            pages_per_s=pages_per_s * slots / (arguments.gpus * 256),
        )
        _print_runs(
            cluster, arguments.hours, [float(loss) for loss in arguments.losses.split(",")], arguments.seed
        )


def simulate(cluster: Cluster, num_pages: int, settings: Settings | None = None, seed: int = 0) -> Run:
    """Plan about that many pages with the real planner and convert them in virtual time."""

    async def convert(loop: VirtualTimeLoop) -> Run:
        store = SimulatedStore(loop.spend)
        await plan_made_up(store, max(1, num_pages // 10))
        shards = open_shards(store, planned_shards(store), committed_shards(store))
        return await convert_simulated(loop, shards, cluster, settings or Settings(), seed)

    return run(convert)


def _print_runs(cluster: Cluster, hours: float, losses: Sequence[float], seed: int) -> None:
    print(
        f"\n**{cluster.num_nodes} nodes x {cluster.engines_per_node} engines x {cluster.window} slots, "
        f"{cluster.pages_per_s:.1f} pages/s at most, {hours:g} h of pages**\n"
    )
    _table(
        [
            "losses an hour",
            "runners",
            "slots busy",
            "of it in vain",
            "useful",
            "nodes lost",
            "shards open",
            "drain, s",
        ]
    )
    for loss in losses:
        for is_safe in (False, True) if loss else (False,):
            lossy = replace(cluster, losses_per_hour=loss, are_runners_safe=is_safe)
            done = simulate(lossy, int(cluster.pages_per_s * hours * 3600), seed=seed)
            busy_share = done.busy_share(cluster.num_slots, cluster.load_s, done.fed_s)
            _row(
                f"{loss:.0%}",
                "on safe nodes" if is_safe else "on any node",
                f"{busy_share:.3f}",
                f"{done.wasted_share:.3f}",
                f"{busy_share * (1 - done.wasted_share):.3f}",
                f"{done.num_nodes_lost}",
                f"{done.peak_open_shards}",
                f"{done.seconds - done.fed_s:.0f}",
            )


def _print_costs(costs: Costs) -> None:
    print("\n**Measured here: CPU, memory and requests of the real code**\n")
    _table(["what", "of", "CPU", "memory or bytes", "requests"])
    _row(
        "plan, without fetching and probing",
        "document",
        _us(costs.plan_s_per_document),
        f"{costs.plan_bytes_per_document:.0f} B in the plan",
        "",
    )
    _row(
        "load the index of a plan",
        "document",
        _us(costs.index_s_per_document),
        f"{costs.index_bytes_per_document:.0f} B",
        "",
    )
    _row("read the plan once", "document", _us(costs.read_s_per_document), "", "")
    _row(
        "list committed shards",
        "shard",
        _us(costs.listing_s_per_shard),
        f"{costs.listing_bytes_per_shard:.0f} B",
        f"1/{KEYS_PER_LISTING} LIST",
    )
    _row(
        "commit",
        "page",
        _us(costs.commit_s_per_page),
        ", ".join(f"{folder} {size:.0f} B" for folder, size in costs.bytes_per_page.items()),
        "",
    )
    _row("commit", "shard", "", "", _counts(costs.commit_requests))
    _row("check the books", "shard", _us(costs.account_s_per_shard), "", _counts(costs.account_requests))


def _print_day(costs: Costs, num_gpus: int, pages_per_s: float) -> None:
    shards_per_s = pages_per_s / (costs.pages_per_document * costs.documents_per_shard)
    puts_per_s = shards_per_s * sum(costs.commit_requests.values())
    account_s = _requests_seconds(costs.account_requests) / 8 + costs.account_s_per_shard
    print(f"\n**A day of {num_gpus} GPUs: {pages_per_s * _DAY / 1e6:.0f} M pages, {pages_per_s:.0f} a second**\n")
    _table(["what", "how much", "of what there is"])
    _row("documents a second", f"{pages_per_s / costs.pages_per_document:.1f}", "")
    _row("shards a second", f"{shards_per_s:.2f}", f"{shards_per_s * SECONDS['HEAD']:.1%} of the queue's time")
    _row("PUTs a second", f"{puts_per_s:.0f}", f"{puts_per_s / _PUTS_PER_SECOND:.1%} of one prefix's rate")
    _row("of them Markdown files", f"{pages_per_s / costs.pages_per_document:.0f}", "one a document")
    _row("results written, MB/s", f"{pages_per_s * sum(costs.bytes_per_page.values()) / 1e6:.1f}", "")
    _row("cores to commit", f"{pages_per_s * costs.commit_s_per_page:.1f}", "in the runners")
    _row("seconds to check the books", f"{shards_per_s * _DAY * account_s:.0f}", "after the last page, 8 at once")


def _print_corpus(costs: Costs, num_documents: float, pages_per_s: float) -> None:
    num_shards = num_documents / costs.documents_per_shard
    num_parts = num_documents / PlanSettings().documents_per_part
    read_h = (num_documents * costs.read_s_per_document + num_parts * SECONDS["GET"]) / 3600
    account_s = max(_requests_seconds(costs.account_requests) / 8, costs.account_s_per_shard)
    run_days = num_documents * costs.pages_per_document / pages_per_s / _DAY
    print(f"\n**{num_documents / 1e6:,.0f} M documents in one output folder, {run_days:.0f} days of pages**\n")
    _table(["what", "how much", "arithmetic"])
    _row("shards", f"{num_shards / 1e6:.1f} M", f"{costs.documents_per_shard:.0f} documents a shard")
    _row("memory of the planner's index", f"{num_documents * costs.index_bytes_per_document / 1e9:.0f} GB", "")
    _row("planner's own CPU, one core", f"{num_documents * costs.plan_s_per_document / 3600:.0f} h", "")
    _row(
        "probing, CPU",
        f"{num_documents * _PROBE_SECONDS / 3600:.0f} h",
        "20 ms a document, all cores of one machine",
    )
    _row("fetching", f"{num_documents * 0.2 / 8 / _DAY:.0f} days", "8 at once, 0.2 s each (assumed)")
    _row("list the inputs", f"{_listing_hours(num_documents):.1f} h", "0.1 s an answer, one after the other")
    _row("read the plan once", f"{read_h:.1f} h", f"{num_parts / 1e3:.0f} k parts, one after the other")
    _row("read the plan, a whole run", f"{_PLAN_READS * read_h:.0f} h", f"{_PLAN_READS} times")
    _row(
        "list committed shards",
        f"{_listing_hours(num_shards):.1f} h",
        f"{num_shards * costs.listing_bytes_per_shard / 1e9:.1f} GB of memory",
    )
    _row("check the books", f"{num_shards * account_s / 3600:.0f} h", "8 at once, or one core")
    _row("Markdown files", f"{num_documents / 1e6:,.0f} M", "one PUT each")


def _requests_seconds(requests: dict[str, float]) -> float:
    return sum(SECONDS[kind] * number for kind, number in requests.items())


def _listing_hours(num_keys: float) -> float:
    return math.ceil(num_keys / KEYS_PER_LISTING) * SECONDS["LIST"] / 3600


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


def _counts(requests: dict[str, float]) -> str:
    return ", ".join(f"{number:.1f} {kind}" for kind, number in sorted(requests.items()))


def _table(names: Sequence[str]) -> None:
    _row(*names)
    print("|---" * len(names) + "|")


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
