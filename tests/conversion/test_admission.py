"""Pages in the air stay within the bytes and the pages that are allowed."""

import asyncio

from quire.conversion.admission import Admission


async def test_bytes_bound_and_order() -> None:
    admission = Admission(lambda: 100, max_bytes=100)
    first = await admission.enter(4, 20)
    second = asyncio.create_task(admission.enter(2, 20))
    await asyncio.sleep(0)
    assert not second.done(), "120 bytes would be in the air"
    first[0].give_back()
    first[0].give_back()  # twice does no harm
    assert len(await second) == 2
    assert (admission.num_pages, admission.num_bytes, admission.peak_bytes) == (5, 100, 100)


async def test_the_true_size_counts_once_it_is_known() -> None:
    admission = Admission(lambda: 100, max_bytes=100)
    (ticket,) = await admission.enter(1, 50)
    ticket.resize(90)
    waiting = asyncio.create_task(admission.enter(1, 20))
    await asyncio.sleep(0)
    assert not waiting.done()
    ticket.resize(10)
    await waiting
    ticket.give_back()
    assert admission.num_bytes == 20


async def test_pixels_let_go_make_room_and_a_page_that_has_ended_holds_none() -> None:
    admission = Admission(lambda: 100, max_bytes=100)
    (ticket,) = await admission.enter(1, 90)
    waiting = asyncio.create_task(admission.enter(1, 90))
    ticket.resize(0)
    await waiting
    ticket.give_back()
    ticket.resize(50)
    assert (admission.num_pages, admission.num_bytes) == (1, 90)


async def test_pages_are_bound_by_a_window_that_may_grow() -> None:
    window = 2
    admission = Admission(lambda: window, max_bytes=1000)
    await admission.enter(2, 1)
    waiting = asyncio.create_task(admission.enter(2, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    window = 4
    admission.change(0, 0)
    await waiting


async def test_what_is_larger_than_the_budget_goes_alone() -> None:
    admission = Admission(lambda: 1, max_bytes=10)
    tickets = await admission.enter(3, 50)
    waiting = asyncio.create_task(admission.enter(1, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    for ticket in tickets:
        ticket.give_back()
    await waiting


async def test_a_cancelled_wait_takes_nothing() -> None:
    admission = Admission(lambda: 1, max_bytes=10)
    (ticket,) = await admission.enter(1, 1)
    waiting = asyncio.create_task(admission.enter(1, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    ticket.give_back()
    assert (admission.num_pages, admission.num_bytes) == (0, 0)
