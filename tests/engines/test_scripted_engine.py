"""The scripted engine does what it is told, deterministically."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from quire.config.engines import ScriptedSettings
from quire.engines.scripted_engine import ScriptedEngine, journal_counts
from quire.errors import EngineDead, PageRejected
from quire.parse import judge
from quire.records import PageImage, Request

DOC = "ab" * 32


def image(page_index: int = 0, mode: str = "base") -> PageImage:
    pixels = np.zeros((8, 8, 3), np.uint8)
    return PageImage(DOC, page_index, mode, 8, 8, 0, 0, 273, 72.0, f"sha{page_index}", (pixels,))


async def read(behaviour: str, mode: str = "base") -> str:
    engine = ScriptedEngine(ScriptedSettings(pages={"abab:0": behaviour}), "base")
    return judge(await engine.recognize(image(mode=mode), Request(mode)))


@pytest.mark.parametrize(
    ("behaviour", "first", "later"),
    [
        ("read", "ok", "ok"),
        ("loop", "loop", "ok"),
        ("truncate", "truncated", "ok"),
        ("always_loop", "loop", "loop"),
        ("always_truncate", "truncated", "truncated"),
    ],
)
async def test_behaviours_and_the_ladder(behaviour: str, first: str, later: str) -> None:
    assert (await read(behaviour), await read(behaviour, "gundam")) == (first, later)


async def test_reject() -> None:
    with pytest.raises(PageRejected, match="scripted_reject"):
        await read("reject")


async def test_a_crash_takes_pages_in_flight_along_and_is_final() -> None:
    engine = ScriptedEngine(ScriptedSettings(seconds_per_page=30, pages={"ab:0": "crash"}), "base")
    neighbour = asyncio.create_task(engine.recognize(image(1), Request("base")))
    await asyncio.sleep(0)
    with pytest.raises(EngineDead):
        await engine.recognize(image(0), Request("base"))
    with pytest.raises(EngineDead):
        await neighbour
    with pytest.raises(EngineDead):
        await engine.recognize(image(2), Request("base"))


async def test_stall_never_answers() -> None:
    engine = ScriptedEngine(ScriptedSettings(pages={"ab:0": "stall"}), "base")
    task = asyncio.create_task(engine.recognize(image(0), Request("base")))
    for _ in range(100):  # turns of the loop: an answer takes but a few
        await asyncio.sleep(0)
    assert engine.num_busy == 1 and not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert engine.num_busy == 0


async def test_the_journal_counts_calls_and_lets_a_crash_happen_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    settings = ScriptedSettings(journal=str(journal), pages={"ab:0": "crash_once"})
    with pytest.raises(EngineDead):
        await ScriptedEngine(settings, "base").recognize(image(0), Request("base"))
    assert (await ScriptedEngine(settings, "base").recognize(image(0), Request("base"))).text
    assert journal_counts(journal) == {(DOC, 0, "base"): 2}


async def test_shares_draw_the_same_pages_each_time() -> None:
    settings = ScriptedSettings(loop_share=0.2, truncate_share=0.1)
    verdicts = [
        [judge(await ScriptedEngine(settings, "base").recognize(image(i), Request("base"))) for i in range(200)]
        for _ in range(2)
    ]
    assert verdicts[0] == verdicts[1]
    assert 20 < verdicts[0].count("loop") < 60
    assert 5 < verdicts[0].count("truncated") < 40
