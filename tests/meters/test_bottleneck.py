"""The judge of a run's bottleneck: clear cases, and the arithmetic of the CPUs an engine could use."""

from dataclasses import replace

import pytest

from quire.meters.bottleneck import Bound, FlowSums, Machinery, find_bottleneck

_GPUS = Machinery(num_engines=8, num_cpus=96, num_renderers=97, cpus_of_engine=1.0, unit="GPU")
# An hour on eight GPUs of 100 slots, 2 pages/s each.
_BUSY = FlowSums(
    num_pages=8 * 7200, engine_s=8 * 3600, slot_s=8e2 * 3600, busy_s=7.92e2 * 3600, starved_s=0.08e2 * 3600,
    fetch_s=600.0, queue_s=0.0, render_s=8 * 7200 * 0.031,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({}, Bound.ENGINE),
        ({"fetch_s": 1e6}, Bound.ENGINE),  # slow, and nobody waits for it
        ({"busy_s": 3e5, "starved_s": 2.5e6, "fetch_s": 1e6}, Bound.STORE),
        ({"busy_s": 3e5, "starved_s": 2.5e6, "render_s": 3.3e5}, Bound.RASTERIZATION),
        (
            {"busy_s": 3e5, "starved_s": 2.5e6, "fetch_s": 4e5, "queue_s": 3e5, "render_s": 3.3e5},
            Bound.RASTERIZATION,
        ),
        ({"busy_s": 3e5, "starved_s": 2.5e6, "throttled_s": 2e6, "fetch_s": 1e6}, Bound.FLOW),
        ({"busy_s": 3e5, "starved_s": 0.0}, Bound.ENGINE),  # free slots at the end, when there are no more pages
    ],
)
def test_what_bounds_a_run(changes: dict[str, float], bound: Bound) -> None:
    verdict = find_bottleneck(replace(_BUSY, **changes), _GPUS)
    assert verdict is not None
    assert verdict.bound is bound


def test_the_cpus_that_a_gpu_could_use() -> None:
    verdict = find_bottleneck(_BUSY, _GPUS)
    assert verdict is not None
    assert verdict.cpus == 12
    assert verdict.full_pages_per_s == pytest.approx(2 / 0.99)
    assert verdict.cpus_wanted == pytest.approx(1 + 0.031 * (2 / 0.99) / 0.8)
    assert str(verdict) == (
        "bound by the GPU: slots 99% busy; rasterizing takes 0.031 CPU s a page, so 1 CPU feeds 16 GPUs at 2.02 "
        "pages/s: CPU:GPU could go down from 12:1 to 1.1:1\n"
        "2 pages/s, 172,800 pages a day, for each GPU"
    )


def test_slow_pages_ask_for_more_cpus() -> None:
    sums = replace(_BUSY, busy_s=0.4 * _BUSY.slot_s, starved_s=0.6 * _BUSY.slot_s, render_s=3e5)
    verdict = find_bottleneck(sums, _GPUS)
    assert verdict is not None
    assert "bound by rasterization: slots 40% busy, renderers 86%" in str(verdict)
    assert "CPU:GPU should go up from 12:1 to 34:1" in str(verdict)


def test_no_ratio_where_engines_compute_on_the_same_cpus() -> None:
    verdict = find_bottleneck(_BUSY, replace(_GPUS, cpus_of_engine=None, unit="engine"))
    assert verdict is not None and verdict.cpus_wanted is None
    assert str(verdict).startswith("bound by the engine: slots 99% busy\n")


@pytest.mark.parametrize("nothing", [{"num_pages": 0}, {"busy_s": 0.0}, {"render_s": 0.0}])
def test_no_verdict_without_work(nothing: dict[str, float]) -> None:
    assert find_bottleneck(replace(_BUSY, **nothing), _GPUS) is None


def test_sums_of_processes_add_up() -> None:
    assert FlowSums(1, 2.0, render_s=3.0) + FlowSums(4, 5.0, fetch_s=6.0) == FlowSums(
        5, 7.0, fetch_s=6.0, render_s=3.0
    )
