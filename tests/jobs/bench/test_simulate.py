"""The simulation against arithmetic; no page is lost in it, and losing nodes costs time."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from quire.config.sections import FlowSettings
from quire.config.settings import Settings
from quire.conversion.shard import convert_shards
from quire.engines.held_image import HeldImage
from quire.flows.converter import make_converter
from quire.jobs.bench.scale_costs import measure, plan_made_up
from quire.jobs.bench.simulate import simulate
from quire.jobs.bench.simulated_cluster import Cluster, Run, SimulatedRasterizer
from quire.jobs.bench.simulated_store import SECONDS, SimulatedStore
from quire.jobs.bench.virtual_time import VirtualTimeLoop, run
from quire.planning.plan_log import planned_shards
from quire.records import Recognition, Request, Shard

SMALL = Cluster(num_nodes=2, engines_per_node=2, window=16, pages_per_s=0.6, load_s=60.0)
NUM_PAGES = 1500


@cache
def small() -> Run:
    return simulate(SMALL, NUM_PAGES)


def test_waiting_takes_no_time_and_is_counted() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        store = SimulatedStore(loop.spend)
        async with asyncio.timeout(100_000):
            await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200))
        await asyncio.to_thread(store.put, "a", b"b")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        return loop.time()

    assert run(main) == pytest.approx(7200 + SECONDS["PUT"] + 10)


def test_what_waits_for_ever_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="nothing is going to happen"):
        run(lambda loop: asyncio.Event().wait())


def test_the_store_counts_what_it_is_asked() -> None:
    store = SimulatedStore()
    for number in range(2000):
        store.put(f"pages/{number:05d}", b"x")
    store.put("plan/a", b"y")
    assert [info.key for info in store.list("plan/")] == ["plan/a"]
    store.requests.clear()
    assert sum(1 for _ in store.list("pages/")) == 2000
    assert not store.put_if_absent("plan/a", b"z") and store.get("plan/a") == b"y"
    assert store.requests == Counter(LIST=2 + 1, PUT=1, GET=1)


def planned_rows(num_pages: int) -> dict[str, int]:
    store = SimulatedStore()
    asyncio.run(plan_made_up(store, num_pages // 10))
    return {shard.shard_id: shard.num_pages for shard in planned_shards(store)}


def busy_share(cluster: Cluster, done: Run) -> float:
    return done.busy_share(cluster.num_slots, cluster.load_s + 60, done.fed_s)


def test_even_pages_take_what_arithmetic_says() -> None:
    even = replace(SMALL, tail_share=0.0, spread=0.0, commit_s=0.0)
    done = simulate(even, NUM_PAGES)
    rounds = -(-done.num_pages // even.num_slots)
    assert done.seconds == pytest.approx(even.load_s + rounds * even.num_slots / even.pages_per_s, rel=0.05)


def test_every_page_is_committed_once_and_slow_pages_leave_no_slot_idle() -> None:
    done = small()
    assert done.rows == planned_rows(NUM_PAGES)
    assert done.num_read == done.num_pages and done.wasted_share == pytest.approx(0)
    assert busy_share(SMALL, done) > 0.95


def test_few_open_shards_wait_for_their_slowest_pages() -> None:
    few = Settings(flow=FlowSettings(open_shards=1))
    assert busy_share(SMALL, simulate(SMALL, NUM_PAGES, few)) < 0.8


class SlowFirst:
    """An engine of four slots that takes eleven days for one page."""

    window = 4

    def __init__(self, slow: str) -> None:
        self._slow = slow

    async def recognize(self, page: HeldImage[Any], request: Request) -> Recognition:
        await asyncio.sleep(1e6 if await page.get() == self._slow else 1.0)
        return Recognition("read")


@pytest.mark.parametrize("max_open", [2, 100])
def test_on_one_machine_shards_are_opened_behind_a_slow_page(max_open: int) -> None:
    async def convert(loop: VirtualTimeLoop) -> list[float]:
        store, times = SimulatedStore(), []
        await plan_made_up(store, 200)
        shards = list(planned_shards(store))
        first = shards[0].ranges[0]

        def write(shard: Shard, results: object, timings: object) -> bool:
            times.append(loop.time())
            return True

        engine = SlowFirst(f"{first.doc_id} {first.start}")
        converter = make_converter(Settings(), SimulatedRasterizer(SMALL), engine, write, lambda page: None)
        await convert_shards(shards, converter, max_open)
        assert len(times) == len(shards) > 5
        return times

    *others, last = run(convert)
    assert max(others) < 1e4 < 1e6 <= last


@pytest.mark.parametrize("are_runners_safe", [False, True])
def test_lost_nodes_cost_time_and_no_page(are_runners_safe: bool) -> None:
    lossy = replace(SMALL, losses_per_hour=3.0, are_runners_safe=are_runners_safe)
    done = simulate(lossy, NUM_PAGES)
    assert done.num_nodes_lost > 0 and done.num_cut_short > 0
    assert done.rows == planned_rows(NUM_PAGES)
    assert done.wasted_share > 0.02
    assert busy_share(lossy, done) < busy_share(SMALL, small())


def test_the_same_seed_gives_the_same_run() -> None:
    lossy = replace(SMALL, losses_per_hour=2.0)
    one, other = (simulate(lossy, 300, seed=3) for _ in range(2))
    # What a lost node cuts short ends in any order, and the order in which floats are added shows in their last bit.
    assert (one.read_s, one.busy_s) == pytest.approx((other.read_s, other.busy_s))
    assert replace(one, read_s=0, busy_s=0) == replace(other, read_s=0, busy_s=0)


def test_what_a_document_and_a_shard_cost_is_measured() -> None:
    costs = measure(num_documents=150, num_commits=1, num_listed=1000)
    assert costs.commit_requests["PUT"] == pytest.approx(3 + costs.documents_per_shard, rel=0.5)
    assert set(costs.account_requests) == {"GET", "HEAD"}
    assert set(costs.bytes_per_page) == {"pages", "documents", "markdown", "timings"}
