"""Which shards a run begins: the canary's first, and none once a limit would be passed.

A gate stands between the plan and whatever converts shards, on one machine or a cluster: it gives out shards until a
limit is reached. Shards that are open then are finished. What it holds back is left for a later run.

Limits are on GPU-hours (core-hours, see `prices.py`) and on their price, of all runs into the folder (`usage.py`). A
shard is held back if it would pass a limit: the time used so far, plus the time that all open pages and this shard
would take at the pace so far. Until the first shard is done there is no pace, and only the time used counts.

Several runs into one folder share the work without messages between them: each takes the shards in its own order, and
skips what another has committed. Only what both have open at the same time is done twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping

from quire.budget import canary
from quire.budget.prices import price_per_hour, unit
from quire.config.settings import Settings
from quire.errors import StorageError
from quire.estimate.record import read_estimate
from quire.planning.plan_log import part_keys, read_part, shards_of
from quire.quantities import device_time, dollars
from quire.records import Outcome, Shard
from quire.results.run_folder import fingerprint_in
from quire.results.usage import Meter, used_hours
from quire.storage import Folder
from quire.tables.keys import committed_shards, pages_key

_log = logging.getLogger(__name__)

_POLL_S = 0.2
_FEWEST_PAGES = 20  # before the share of failed pages is judged
_SECONDS_BETWEEN_NOTES = 60.0
_GO_ON = "and the next shard would take it beyond. Run it again with a higher limit to go on"


def open_shards(folder: Folder, shards: Iterable[Shard], done: Collection[str]) -> Iterator[Shard]:
    """Of these shards, those that nobody has committed: neither before, which is `done`, nor when their turn comes."""
    for shard in shards:
        if shard.shard_id not in done and not folder.exists(pages_key(shard.shard_id)):
            yield shard


def shuffled_shards(folder: Folder, run_id: str) -> Iterator[Shard]:
    """Every shard of the plan, in an order that follows from the run's id: parts in any order, and the shards of each
    in any order. One part is in memory."""
    chance, keys = random.Random(run_id), part_keys(folder)
    for key in chance.sample(keys, len(keys)):
        shards = list(shards_of(read_part(folder, key)))
        yield from chance.sample(shards, len(shards))


class Gate:
    """The gate of one run. Use as a context manager around the run, in its event loop; its time is noted once a minute
    and at the end."""

    def __init__(self, folder: Folder, settings: Settings, num_shards: int) -> None:
        """`num_shards`: of the whole plan."""
        self.reason = ""  # why it gives no more shards, in words; empty while it does
        self._folder = folder
        self._settings = settings
        self._num_shards = num_shards
        self._limit_hours, self._limit_words = _limit(settings)
        self._used_before = 0.0
        self._meter: Meter | None = None
        self._num_begun = self._num_done = self._num_failed = 0  # pages
        self._is_over = threading.Event()
        self._noting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Gate:
        self._noting = asyncio.create_task(self._note_every_minute())
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Release the thread that waits for the canary, and note the time. After an interrupt nothing is noted, to end
        without waiting for the store: the last note is a minute old at most."""
        self._is_over.set()
        if self._noting is not None:
            self._noting.cancel()
        if not isinstance(error, asyncio.CancelledError):
            await self._note(is_last_word=error is None)

    async def _note_every_minute(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_NOTES)
            await self._note(is_last_word=False)

    async def _note(self, is_last_word: bool) -> None:
        """Raises `StorageError` only for the last note of a run that ended well. Otherwise the run, or the error that
        ended it, matters more."""
        if self._meter is None:
            return
        try:
            await asyncio.to_thread(self._meter.note)
        except StorageError as exc:
            if is_last_word:
                raise
            _log.warning("the time that this run used is not noted: %s", exc)

    def observe(self, counts: Mapping[str, int]) -> None:
        """Take the numbers of this run's finished pages, by outcome."""
        self._num_done = sum(counts.values())
        self._num_failed = counts.get(Outcome.FAILED, 0)

    def shards(self, num_devices: float) -> Iterator[Shard]:
        """The shards to convert on so many GPUs or cores, each looked up just before it is begun: the canary's, then
        the others in this run's order. Blocks while the canary is judged; read it in a thread."""
        self._meter = meter = Meter(self._folder, num_devices)
        self._used_before = used_hours(self._folder) if self._limit_words else 0.0
        done = committed_shards(self._folder)
        for shard in open_shards(self._folder, self._in_order(done, meter.run_id), done):
            if self._fails_too_often():
                return
            if self._would_pass_the_limit(shard, meter):
                used = device_time(self._hours(meter), unit(self._settings))
                self.reason = f"the limit of {self._limit_words} is reached: {used} used, {_GO_ON}"
                return
            self._num_begun += shard.num_pages
            yield shard

    def _in_order(self, done: set[str], run_id: str) -> Iterator[Shard]:
        num_left = self._num_shards - len(done)
        is_wanted = num_left > 0 and canary.is_wanted(self._settings.canary, num_left)
        first = canary.canary_shards(self._folder, done, num_left) if is_wanted else []
        yield from first
        if first and not self._is_canary_well(first, num_left):
            return
        ids = {shard.shard_id for shard in first}
        yield from (shard for shard in shuffled_shards(self._folder, run_id) if shard.shard_id not in ids)

    def _is_canary_well(self, shards: list[Shard], num_left: int) -> bool:
        """Wait for the shards to be done, and judge what came of them."""
        for shard in shards:
            while not self._folder.exists(pages_key(shard.shard_id)):
                if self._is_over.wait(_POLL_S):
                    return False
        estimate = read_estimate(self._folder, fingerprint_in(self._folder, self._settings))
        foretold = estimate.figures.get("tokens_per_page") if estimate else None
        problems = canary.check(self._folder, shards, self._settings.canary, foretold)
        if problems:
            self.reason = canary.describe(problems, len(shards), num_left)
        return not problems

    def _fails_too_often(self) -> bool:
        most, number, total = self._settings.flow.max_failed_share, self._num_failed, self._num_done
        if most is None or total < _FEWEST_PAGES or canary.wilson_low(number, total) <= most:
            return False
        self.reason = (
            f"{number:,} of {total:,} pages failed in this run: {number / total:.1%}, where {most:.1%} are allowed "
            "(--max-failed-share). See `quire status` for why; then go on with --retry-failed, or with another share"
        )
        return True

    def _would_pass_the_limit(self, shard: Shard, meter: Meter) -> bool:
        if not self._limit_words:
            return False
        to_come = 0.0
        if self._num_done >= shard.num_pages:  # before that the pace is not known
            num_pages = max(0, self._num_begun - self._num_done) + shard.num_pages
            to_come = meter.device_hours * num_pages / self._num_done
        return self._hours(meter) + to_come > self._limit_hours

    def _hours(self, meter: Meter) -> float:
        return self._used_before + meter.device_hours


def _limit(settings: Settings) -> tuple[float, str]:
    """The stricter of the limits in hours, and in words; no words without any."""
    cost = settings.cost
    limits = []
    if cost.max_gpu_hours is not None:
        limits.append((cost.max_gpu_hours, f"{cost.max_gpu_hours:,g} {unit(settings)}-hours"))
    if cost.max_cost is not None:
        price = price_per_hour(settings)
        hours = cost.max_cost / price if price else float("inf")
        limits.append((hours, f"{dollars(cost.max_cost)} at ${price:g} a {unit(settings)}-hour"))
    return min(limits, default=(0.0, ""))
