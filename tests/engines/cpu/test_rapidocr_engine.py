"""The CPU default reads real drawings; scripts that it cannot read, children that die and hang."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
import pytest_asyncio

from quire.engines.cpu.rapidocr_engine import ARENA_BYTES, RapidOcrEngine
from quire.errors import EngineAway, EngineDead, MissingDependency, PageRejected, QuireError
from quire.records import Recognition, Request
from tests.engines import drawing
from tests.engines.drawing import as_page
from tests.engines.faulty_workers import trace_of
from tests.waiting import wait_in_loop

REQUEST = Request("native")
FAULTY = "tests.engines.faulty_workers:"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[RapidOcrEngine]:
    """One for all tests, since its child takes seconds to load its models."""
    pytest.importorskip("rapidocr")
    engine = RapidOcrEngine(1)
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upright(engine: RapidOcrEngine) -> Recognition:
    """What `two_columns` is read as."""
    return await engine.recognize(as_page(drawing.two_columns()), REQUEST)


async def test_two_columns_are_read_one_after_the_other(upright: Recognition) -> None:
    result = upright
    assert result.blocks is not None
    assert result.blocks[0].label == "title"
    assert result.blocks[0].text == "A History of the Harbour"
    body = " ".join(block.text for block in result.blocks[1:])
    assert body.rindex("length of its keel") < body.index("Winter storms")
    assert "two lights were set upon it" in body
    assert result.finish_reason == "stop"
    assert result.mean_logprob is not None
    assert -0.2 < result.mean_logprob <= 0
    assert all(0 <= edge <= 1 for block in result.blocks for edge in block.box or ())


async def test_a_table_becomes_a_table(engine: RapidOcrEngine) -> None:
    rows = [
        ("Item", "Count", "Price"),
        ("Rope", "12", "3.50"),
        ("Anchor", "", "120.00"),
        ("Lamp", "7", "18.25"),
    ]
    result = await engine.recognize(as_page(drawing.table(rows)), REQUEST)
    assert result.blocks is not None
    [block] = [block for block in result.blocks if block.label == "table"]
    assert block.text.splitlines() == [
        "| Item | Count | Price |",
        "| --- | --- | --- |",
        "| Rope | 12 | 3.50 |",
        "| Anchor |  | 120.00 |",
        "| Lamp | 7 | 18.25 |",
    ]


@pytest.mark.parametrize("num_quarters", [0, 1])
async def test_a_lone_narrow_character_stays_upright_in_its_cell(
    engine: RapidOcrEngine, num_quarters: int
) -> None:
    """Its box is as tall as that of a word on its side."""
    rows = [("Item", "Count", "Price"), ("Rope", "1", "3.50"), ("Lamp", "7", "1"), ("Bell", "1", "8.25")]
    page = np.ascontiguousarray(np.rot90(drawing.table(rows), num_quarters))
    result = await engine.recognize(as_page(page), REQUEST)
    assert result.blocks is not None
    assert [block.text.splitlines() for block in result.blocks] == [
        [
            "| Item | Count | Price |",
            "| --- | --- | --- |",
            "| Rope | 1 | 3.50 |",
            "| Lamp | 7 | 1 |",
            "| Bell | 1 | 8.25 |",
        ]
    ]


async def test_a_page_of_ones_is_not_turned(engine: RapidOcrEngine) -> None:
    result = await engine.recognize(as_page(drawing.table([("1", "1", "1")] * 5, size=14)), REQUEST)
    assert result.blocks is not None
    assert [block.text.splitlines()[2:] for block in result.blocks] == [["| 1 | 1 | 1 |"] * 4]


async def test_single_digits_between_words_are_kept_in_their_lines(engine: RapidOcrEngine) -> None:
    """Where word spaces lie under one another, lines are cut into words before they are read."""
    lines = [("Row", str(number), "encoded", "as", "plain", "text") for number in range(6)]
    result = await engine.recognize(as_page(drawing.spaced_alike(lines)), REQUEST)
    assert result.blocks is not None
    assert [(block.label, block.text) for block in result.blocks] == [
        ("text", " ".join(" ".join(words) for words in lines))
    ]


async def test_bullets_that_the_recogniser_drops_make_a_list(engine: RapidOcrEngine) -> None:
    items = ["Copper sheets for the keel", "Two hundred oak planks", "Rope and canvas"]
    result = await engine.recognize(as_page(drawing.bulleted(items)), REQUEST)
    assert result.blocks is not None
    assert [(block.label, block.text.splitlines()) for block in result.blocks] == [
        ("list", [f"- {item}" for item in items])
    ]


@pytest.mark.parametrize("num_quarters", [1, 2, pytest.param(3, marks=pytest.mark.soak)])
async def test_turned_pages_read_like_upright_ones(
    engine: RapidOcrEngine, upright: Recognition, num_quarters: int
) -> None:
    expected = upright
    turned = np.ascontiguousarray(np.rot90(drawing.two_columns(), num_quarters))
    result = await engine.recognize(as_page(turned), REQUEST)
    assert result.blocks is not None
    assert expected.blocks is not None
    assert [block.label for block in result.blocks] == [block.label for block in expected.blocks]
    assert result.blocks[0].text == expected.blocks[0].text
    assert result.text.split()[-20:] == expected.text.split()[-20:]
    x0, y0, x1, y1 = result.blocks[0].box or (0, 0, 0, 0)
    side = {1: x1 < 0.2, 2: y0 > 0.8, 3: x0 > 0.8}[num_quarters]  # where the title stands on the page as given
    assert side, (x0, y0, x1, y1)


async def test_padding_is_not_part_of_the_page(engine: RapidOcrEngine) -> None:
    page = drawing.one_column()
    height, width = page.shape[:2]
    view = np.full((height + 200, width + 100, 3), 127, np.uint8)
    view[100 : 100 + height, 50 : 50 + width] = page
    box = (
        50 / (width + 100),
        100 / (height + 200),
        (50 + width) / (width + 100),
        (100 + height) / (height + 200),
    )
    assert await engine.recognize(as_page(view, box), REQUEST) == await engine.recognize(as_page(page), REQUEST)


async def test_a_photo_is_an_empty_page(engine: RapidOcrEngine) -> None:
    result = await engine.recognize(as_page(drawing.photo()), REQUEST)
    assert (result.text, result.blocks, result.mean_logprob) == ("", (), None)


async def test_a_lone_word_on_an_empty_page_is_read(engine: RapidOcrEngine) -> None:
    page = np.full((1754, 1240, 3), 255, np.uint8)
    word = drawing.table([("harbour",)])
    page[100:400, 700:1240] = word[100:400, 80:620]
    assert (await engine.recognize(as_page(page), REQUEST)).text == "harbour"


@pytest.mark.parametrize("shape", [(1, 1), (3, 800), (900, 2)])
async def test_tiny_pages(engine: RapidOcrEngine, shape: tuple[int, int]) -> None:
    result = await engine.recognize(as_page(np.zeros((*shape, 3), np.uint8)), REQUEST)
    assert result.text == ""


async def test_a_page_survives_the_death_of_its_child(engine: RapidOcrEngine, upright: Recognition) -> None:
    page = as_page(drawing.two_columns())
    [pid] = engine.pids
    before_s = psutil.Process(pid).cpu_times().user
    task = asyncio.create_task(engine.recognize(page, REQUEST))

    def busy_s() -> float:
        assert not task.done(), task
        return psutil.Process(pid).cpu_times().user - before_s

    await wait_in_loop("the child to be at work on the page", lambda: busy_s() >= 0.05, saw=busy_s)
    os.kill(pid, signal.SIGKILL)
    assert await task == upright
    assert engine.pids != [pid]


async def test_openvino_reads_the_same() -> None:
    pytest.importorskip("rapidocr")
    if importlib.util.find_spec("openvino") is None:
        with pytest.raises(MissingDependency, match="pip install openvino"):
            RapidOcrEngine(1, "openvino")
        pytest.skip("openvino is not installed")
    engine = RapidOcrEngine(1, "openvino")
    try:
        result = await engine.recognize(as_page(drawing.one_column()), REQUEST)
    finally:
        await engine.close()
    assert "the old quay was repaired" in " ".join(result.text.split())


async def test_a_second_child_gets_the_page_of_one_that_died() -> None:
    engine = RapidOcrEngine(1, cage="off", worker=FAULTY + "DiesOnce")  # which leaves a file behind
    try:
        assert (await engine.recognize(as_page(drawing.photo()), REQUEST)).text == "survived"
    finally:
        await engine.close()
        trace_of(os.getpid()).unlink()


@pytest.mark.parametrize(("worker", "kind"), [("DiesAlways", "engine_crash"), ("Lies", "engine_crash")])
async def test_a_page_that_kills_twice_is_rejected(worker: str, kind: str) -> None:
    engine = RapidOcrEngine(1, worker=FAULTY + worker)
    try:
        with pytest.raises(PageRejected) as caught:
            await engine.recognize(as_page(drawing.photo()), REQUEST)
    finally:
        await engine.close()
    assert caught.value.kind == kind


async def test_a_page_that_hangs_is_rejected_and_the_next_is_read() -> None:
    engine = RapidOcrEngine(1, page_cpu_s=1.0, worker=FAULTY + "Hangs", stuck_after_s=1.0)
    try:
        for height_px, words in ((10, "1 s of CPU"), (1, "waits for what never comes")):
            with pytest.raises(PageRejected, match=words) as caught:
                await engine.recognize(as_page(np.zeros((height_px, 20, 3), np.uint8)), REQUEST)
            assert caught.value.kind == "engine_timeout"
        with pytest.raises(QuireError, match="two OCR processes could not work.*it was stopped"):
            await engine.recognize(as_page(np.zeros((2, 20, 3), np.uint8)), REQUEST)
        assert (await engine.recognize(as_page(np.zeros((20, 10, 3), np.uint8)), REQUEST)).text == "survived"
    finally:
        await engine.close()


async def test_an_engine_whose_children_do_not_start_is_dead() -> None:
    engine = RapidOcrEngine(1, worker=FAULTY + "NeverStarts")
    try:
        with pytest.raises(EngineAway, match="no model"):
            await engine.recognize(as_page(drawing.photo()), REQUEST)
    finally:
        await engine.close()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process can open nothing more meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_child_that_there_was_no_room_for_can_be_started_later() -> None:
    engine = RapidOcrEngine(1, worker=FAULTY + "Hangs")
    page = as_page(np.zeros((20, 10, 3), np.uint8))
    try:
        with no_descriptor_left(), pytest.raises(EngineAway, match="Too many open files"):
            await engine.recognize(page, REQUEST)
        assert (await engine.recognize(page, REQUEST)).text == "survived"
    finally:
        await engine.close()


async def test_a_child_whose_start_is_cancelled_is_ended_and_the_next_page_is_read() -> None:
    """Nobody is connected to it: it would wait for ever, and be taken for one that reads."""
    engine = RapidOcrEngine(1, worker=FAULTY + "Hangs")
    page = as_page(np.zeros((20, 10, 3), np.uint8))
    try:
        reading = asyncio.create_task(engine.recognize(page, REQUEST))
        await asyncio.sleep(0)  # it goes as far as the process, and waits for a connection to it
        assert len(engine.pids) == 1
        reading.cancel()
        await asyncio.wait({reading}, timeout=60)
        assert reading.cancelled() and not engine.pids
        assert (await engine.recognize(page, REQUEST)).text == "survived"
    finally:
        await engine.close()


async def test_a_page_larger_than_the_arena_is_rejected() -> None:
    engine = RapidOcrEngine(1, worker=FAULTY + "DiesAlways")
    side = int((ARENA_BYTES / 3) ** 0.5) + 2
    try:
        with pytest.raises(PageRejected) as caught:
            await engine.recognize(as_page(np.zeros((side, side, 3), np.uint8)), REQUEST)
    finally:
        await engine.close()
    assert caught.value.kind == "too_many_pixels"


async def test_a_closed_engine_is_dead() -> None:
    engine = RapidOcrEngine(2, worker=FAULTY + "DiesOnce")
    assert engine.window == 3
    await engine.close()
    await engine.close()
    with pytest.raises(EngineDead):
        await engine.recognize(as_page(drawing.photo()), REQUEST)
