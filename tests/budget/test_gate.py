"""Limits and the canary: runs that stop before their end, with books that balance, and go on later."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from quire.budget import gate
from quire.budget.canary import canary_shards, wilson_low
from quire.budget.gate import Gate
from quire.budget.prices import num_devices
from quire.config.results import fingerprint
from quire.config.sections import StorageSettings
from quire.config.settings import Settings
from quire.config.settings_file import load_settings
from quire.engines.scripted_engine import journal_counts
from quire.errors import RunStopped
from quire.estimate.figures import Figure
from quire.estimate.record import Estimate, write_estimate
from quire.planning.plan import cut_shards
from quire.planning.plan_log import Planned, append_part, part_key, planned_shards
from quire.records import Document, DocumentStatus
from quire.results.ledger import Account, take_account
from quire.results.usage import used_hours
from quire.run.convert import convert
from quire.run.inputs import Inputs
from quire.storage import open_folder
from quire.storage.local import LocalFolder
from quire.tables.keys import pages_key
from tests import documents
from tests.night_by_night import sha256
from tests.runs import SCRIPTED, quire, results, scripted_settings, set_options, write_samples
from tests.waiting import wait_in_loop

HOUR = 1 / 3600  # of one core, in hours a second
SMALL = 'engine.modes=["tiny"]'


def run(tmp_path: Path, settings: Settings, output: str = "out") -> Account:
    inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / output))
    return asyncio.run(convert(inputs, settings, use_ray=False))


def books(tmp_path: Path) -> Account:
    account = take_account(open_folder(str(tmp_path / "out"), StorageSettings()))
    assert account.problems == []
    return account


def planned_part(name: str, num_shards: int) -> list[Planned]:
    """Of one document of eight pages a shard."""
    documents = [
        Document(
            f"/{name}/{i}", "1", 9, sha256(f"{name} {i}".encode()), "", 8, DocumentStatus.OK, output_name=f"{i}"
        )
        for i in range(num_shards)
    ]
    return cut_shards(documents, 8, "fingerprint")


def note_usage(tmp_path: Path, hours: float) -> None:
    """As an earlier run would have."""
    (tmp_path / "out/usage").mkdir(parents=True)
    noted = {"num_devices": 4, "seconds": hours * 3600 / 4}
    (tmp_path / "out/usage/0123456789abcdef.json").write_text(json.dumps(noted))


def test_a_limit_stops_a_run_between_shards_and_a_later_run_goes_on(tmp_path: Path) -> None:
    """Each shard of 8 pages takes two seconds, and the limit is six: the third or fourth one would pass it."""
    pages = write_samples(tmp_path / "in")
    slow = scripted_settings(
        tmp_path, SMALL, f"cost.max_gpu_hours={6 * HOUR}", "flow.open_shards=1", seconds_per_page=0.5, window=2
    )
    with pytest.raises(RunStopped, match=r"the limit of 0.00166667 core-hours is reached.*higher limit"):
        run(tmp_path, slow)
    account = books(tmp_path)
    assert 0 < account.num_shards_done < account.num_shards
    assert used_hours(open_folder(str(tmp_path / "out"), StorageSettings())) > 0

    account = run(tmp_path, scripted_settings(tmp_path, SMALL))
    assert account.is_complete and account.pages.total() == sum(pages.values())
    assert set(journal_counts(tmp_path / "journal").values()) == {1}, "nothing was done twice"
    run(tmp_path, scripted_settings(tmp_path, SMALL), "unstopped")
    stopped, whole = (
        results(open_folder(str(tmp_path / name), StorageSettings())) for name in ("out", "unstopped")
    )
    assert stopped == whole


def test_the_time_of_an_interrupted_run_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its only shard is begun at once, and nothing else would have it noted."""
    monkeypatch.setattr(gate, "_SECONDS_BETWEEN_NOTES", 0.3)
    write_samples(tmp_path / "in", 2)
    folder = open_folder(str(tmp_path / "out"), StorageSettings())
    settings = scripted_settings(tmp_path, seconds_per_page=60)

    async def interrupt() -> None:
        inputs = Inputs((str(tmp_path / "in"),), (), str(tmp_path / "out"))
        running = asyncio.create_task(convert(inputs, settings, use_ray=False))

        def noted_hours() -> float:
            assert not running.done(), running
            return used_hours(folder)

        await wait_in_loop("time to be noted", noted_hours)
        running.cancel()
        await asyncio.wait({running}, timeout=60)
        assert running.cancelled(), running

    asyncio.run(interrupt())
    assert used_hours(folder) > 0 and books(tmp_path).num_shards_done == 0


async def test_runs_at_once_share_the_work(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path), StorageSettings())
    for number in range(2):
        append_part(folder, number, planned_part(f"part{number}", num_shards=20))
    begun: list[str] = []

    async def run() -> None:
        shards = Gate(folder, Settings(), 40).shards(1.0)
        while shard := await asyncio.to_thread(next, shards, None):
            begun.append(shard.shard_id)
            await asyncio.to_thread(folder.put_if_absent, pages_key(shard.shard_id), b"")

    await asyncio.gather(run(), run(), run())
    assert set(begun) == {shard.shard_id for shard in planned_shards(folder)}
    assert len(begun) < 80, "in one order it would be 120, and 45 are likely"


@pytest.mark.parametrize("num_engines", [None, 1, 16])
def test_one_server_is_one_gpu_whoever_asks_it(num_engines: int | None) -> None:
    assert num_devices(load_settings(None, ["engine.name=http", "engine.model=m"]), num_engines) == 1


@pytest.mark.parametrize(
    "limits",
    [("cost.max_gpu_hours=2.5",), ("cost.max_cost=5", "cost.price_per_hour=2"), ("cost.max_gpu_hours=0",)],
)
def test_what_earlier_runs_used_counts(tmp_path: Path, limits: tuple[str, ...]) -> None:
    write_samples(tmp_path / "in", 3)
    note_usage(tmp_path, hours=2.5)
    with pytest.raises(RunStopped):
        run(tmp_path, scripted_settings(tmp_path, *limits))
    assert books(tmp_path).num_shards_done == 0
    assert not (tmp_path / "journal").exists()


def test_limits_that_are_far_and_prices_of_nothing_stop_nothing(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 3)
    note_usage(tmp_path, hours=2.5)
    far = ("cost.max_gpu_hours=1000", "cost.max_cost=1", "cost.price_per_hour=0")
    assert run(tmp_path, scripted_settings(tmp_path, *far)).is_complete


def test_the_command_says_so_and_ends_with_six(tmp_path: Path) -> None:
    write_samples(tmp_path / "in", 3)
    arguments = ["convert", str(tmp_path / "in"), "--output", str(tmp_path / "out"), *set_options(SCRIPTED)]
    stopped = quire(*arguments, "--max-cost", "0", "--gpu-price", "3")
    assert stopped.returncode == 6, stopped.stderr
    assert "pages      0 of 6 accounted for" in stopped.stderr
    assert "the limit of $0.00 at $3 a core-hour is reached" in stopped.stderr
    assert "Traceback" not in stopped.stderr


LONG = "\n".join([documents.LINE] * 6)  # about as long as what the scripted engine writes
SHORT = documents.LINE * 2  # a fifth of it


def write_layers(folder: Path, text: str) -> None:
    """Thirty documents of two pages with a text layer each, under names that would talk to a terminal."""
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02}\x1b[31m.pdf").write_bytes(
            documents.pdf([f"{number} {page}\n{text}" for page in range(2)])
        )


def canary_settings(tmp_path: Path, *overrides: str, **scripted: Any) -> Settings:
    return scripted_settings(
        tmp_path, "canary.enabled=true", 'engine.modes=["tiny", "base"]', *overrides, **scripted
    )


def test_a_healthy_canary_is_part_of_the_run(tmp_path: Path) -> None:
    write_layers(tmp_path / "in", LONG)
    account = run(tmp_path, canary_settings(tmp_path))
    assert account.is_complete and account.pages == Counter(ocr=60)
    assert set(journal_counts(tmp_path / "journal").values()) == {1}


@pytest.mark.parametrize(
    ("text", "scripted", "words"),
    [
        (LONG, {"loop_share": 1.0}, "8 of 8 pages read went into a loop: 100.0%, where 15.0% are allowed"),
        (LONG, {"reject_share": 1.0}, "8 of 8 pages failed: 100.0%, where 10.0% are allowed"),
        (LONG, {"truncate_share": 1.0, "num_words": 9}, "14 tokens a page, where 20 to 4,000 are expected"),
        (LONG, {"num_words": 5000}, "5,005 tokens a page, where 20 to 4,000 are expected"),
        (SHORT, {}, "8 of 8 pages with a text layer to trust disagree with it"),
    ],
    ids=["loops", "failures", "few tokens", "many tokens", "disagreement"],
)
def test_a_canary_that_is_not_well_stops_the_run(
    tmp_path: Path, text: str, scripted: dict[str, Any], words: str
) -> None:
    write_layers(tmp_path / "in", text)
    with pytest.raises(RunStopped) as stopped:
        run(tmp_path, canary_settings(tmp_path, **scripted))
    assert words in str(stopped.value)
    assert "the canary, 1 of 10 shards, is not well" in str(stopped.value)
    assert "[31m.pdf page" in str(stopped.value) and "\x1b" not in str(stopped.value)
    assert "--no-canary" in str(stopped.value)
    assert books(tmp_path).num_shards_done == 1


def test_a_stopped_run_goes_no_further_than_its_canary_until_it_is_told_to_go_on(tmp_path: Path) -> None:
    """Each run looks at what it would do itself, so that old shards neither hide nor stop what is new."""
    write_layers(tmp_path / "in", SHORT)
    for number in (1, 2):
        with pytest.raises(RunStopped, match=f"the canary, 1 of {11 - number} shards.*\n.*disagree"):
            run(tmp_path, canary_settings(tmp_path))
        assert books(tmp_path).num_shards_done == number
    assert run(tmp_path, canary_settings(tmp_path, "canary.max_disagreeing_share=1")).is_complete
    assert set(journal_counts(tmp_path / "journal").values()) == {1}


def test_the_canary_is_chosen_without_reading_the_plan_to_its_end(tmp_path: Path) -> None:
    class Beginning(LocalFolder):
        def get(self, key: str) -> bytes:
            assert key != part_key(1), "engines wait meanwhile"
            return super().get(key)

    folder = Beginning(str(tmp_path))
    for number in range(2):
        append_part(folder, number, planned_part(f"part{number}", num_shards=10))
    assert [shard.shard_id for shard in canary_shards(folder, (), 20)] == [next(planned_shards(folder)).shard_id]


def test_tokens_are_held_against_an_estimate(tmp_path: Path) -> None:
    write_layers(tmp_path / "in", LONG)
    settings = canary_settings(tmp_path)
    figures = {"tokens_per_page": Figure(500, 450, 600)}
    estimate = Estimate(fingerprint(settings), "", 30, 0, 0, 0, 0, "core", 1, 0, figures)
    write_estimate(open_folder(str(tmp_path / "out"), StorageSettings()), estimate)
    with pytest.raises(
        RunStopped, match=r"65 tokens a page, where 300 to 900 are expected \(the estimate's interval"
    ):
        run(tmp_path, settings)


@pytest.mark.parametrize(
    ("number", "total", "low"), [(0, 10, 0.0), (1, 5, 0.045), (10, 10, 0.787), (50, 500, 0.080), (1, 1, 0.270)]
)
def test_few_pages_hardly_prove_anything(number: int, total: int, low: float) -> None:
    assert wilson_low(number, total) == pytest.approx(low, abs=0.005)
