"""The window against an engine that is modelled step by step: it finds the limit, and keeps off it."""

from __future__ import annotations

import pytest

from quire.engines.gpu.window import STEPS_BETWEEN_CHANGES, Window

ROOMY, FULL = 0.3, 0.99


def run(window: Window, capacity: int, num_changes: int, num_pages: int = 10_000) -> list[int]:
    """An engine that runs `capacity` pages, fed with as many as the window wants. Its sizes after each change."""
    sizes = []
    for _ in range(num_changes):
        for _ in range(STEPS_BETWEEN_CHANGES):
            in_flight = min(window.size, num_pages)
            num_running = min(in_flight, capacity)
            preempted = int(in_flight > capacity * 1.1)
            window.see_step(num_running, in_flight - num_running, min(1.0, num_running / capacity), preempted)
        sizes.append(window.size)
    return sizes


def test_it_grows_to_all_that_the_engine_takes_and_a_few_that_wait() -> None:
    window = Window(most=256, max_bytes=1 << 40)
    assert window.size == (256 + 32) // 4
    assert run(window, capacity=100_000, num_changes=20)[-1] == 256 + 32


@pytest.mark.parametrize("capacity", [20, 60, 130])
def test_it_settles_near_what_the_cache_has_room_for(capacity: int) -> None:
    sizes = run(Window(most=256, max_bytes=1 << 40), capacity, num_changes=60)[20:]
    assert capacity * 0.7 <= min(sizes) and max(sizes) <= capacity * 1.3


def test_it_stays_where_it_is_while_pages_are_few() -> None:
    window = Window(most=256, max_bytes=1 << 40)
    size = window.size
    assert set(run(window, capacity=1000, num_changes=20, num_pages=size // 2)) == {size}


def test_preemption_shrinks_it_and_it_never_closes() -> None:
    window = Window(most=64, max_bytes=1 << 40)
    for _ in range(100 * STEPS_BETWEEN_CHANGES):
        window.see_step(window.size, 0, FULL, num_preempted=1)
    assert window.size == 1


def test_pages_that_wait_shrink_it_only_when_the_cache_is_full() -> None:
    for cache_use, shrinks in ((ROOMY, False), (FULL, True)):
        window = Window(most=64, max_bytes=1 << 40)
        size = window.size
        for _ in range(STEPS_BETWEEN_CHANGES):
            window.see_step(num_running=8, num_waiting=10, cache_use=cache_use, num_preempted=0)
        assert (window.size < size) is shrinks


def test_large_pages_bound_it() -> None:
    window = Window(most=1024, max_bytes=100 << 20)
    for _ in range(200):
        window.see_page(10 << 20)
    assert window.size == 10
    for _ in range(200):
        window.see_page(1 << 20)
    assert 90 <= window.size <= 100
    window.see_page(1 << 40)
    assert window.size == 1
