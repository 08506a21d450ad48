"""The driver's feeder: gives shards to runners when they have room, and gives lost shards again.

Knows of engines only that each runner has its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError

from quire.conversion.shard import ShardQueue, first_cause
from quire.errors import QuireError
from quire.flows.on_ray.runner import MAX_LOSSES, PATIENCE_S, PROBE_SECONDS
from quire.flows.on_ray.workers import cause, is_loss
from quire.meters.bottleneck import FlowSums, Verdict
from quire.meters.flow_meter import RunMeter
from quire.meters.metrics import Tally, outcomes
from quire.processes.background import run_beside
from quire.records import Shard

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_LOOK_TIMEOUT_S = 30.0
_QUIET_S = 60.0  # without an answer, after which a runner is named in the log
_MISS_EVERY_S, _MAX_MISSES = 20.0, 3  # looks that find a runner without the shard of a call to it


class _CallLost(Exception):
    """The runner answers, but does not work on the shard of the call."""


class Feeder:
    """Each shard comes with the runner's engines, since a restarted runner has forgotten them."""

    def __init__(
        self,
        shards: ShardQueue,
        runners: Sequence[tuple[Any, Sequence[Any]]],
        max_open: int,
        meter: RunMeter,
        show: Callable[[Counter[str]], None],
        wait_for: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._shards = shards
        self._runners = runners
        self._max_open = max_open
        self._meter = meter
        self._show = show
        self._wait_for = wait_for
        self._done: Tally = Counter()
        self._sums: dict[Any, FlowSums] = {}  # by runner, since its last restart
        self._open: dict[Any, Collection[str]] = {}  # shards that each runner works on, from its last answer
        self._counts: Tally = Counter()  # of pages, from the same answers

    async def run(self, watch: Coroutine[Any, Any, None]) -> Verdict | None:
        """Feed until there are no more shards. `watch` never returns, and raises if the cluster is lost."""
        telling = run_beside("telling what is done", self._tell_every_second())
        try:
            async with asyncio.TaskGroup() as watchers:
                watching = [watchers.create_task(each) for each in (watch, self._listen())]
                async with asyncio.TaskGroup() as feeders:
                    for runner, engines in self._runners:
                        turn = asyncio.Lock()
                        for _ in range(self._max_open):
                            feeders.create_task(self._feed(runner, engines, turn))
                for task in watching:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise first_cause(errors) from errors
        finally:
            telling.cancel()
        await self._ask()
        return self._tell()

    async def _feed(self, runner: Any, engines: Sequence[Any], turn: asyncio.Lock) -> None:
        while True:
            async with turn:
                shard = await self._shards.take()
                if shard is None:
                    return
                call = await self._begin(runner, engines, shard)
            self._done += await self._finish(call, runner, engines, shard)

    async def _begin(self, runner: Any, engines: Sequence[Any], shard: Shard) -> asyncio.Future[Tally]:
        """Hand over a shard; returns the running call when all the shard's pages are admitted."""
        await _wait_until_alive(runner)
        call: asyncio.Future[Tally] = asyncio.ensure_future(runner.convert.remote(shard, engines))
        with contextlib.suppress(RayError, _CallLost):  # `call` raises it too
            admitted = asyncio.ensure_future(runner.admitted.remote(shard.shard_id))
            await self._answer(admitted, runner, shard)
        return call

    async def _finish(
        self, call: asyncio.Future[Tally], runner: Any, engines: Sequence[Any], shard: Shard
    ) -> Tally:
        for num_losses in itertools.count(1):
            try:
                counts: Tally = await self._answer(call, runner, shard)
                return counts
            except (RayTaskError, RayActorError, _CallLost) as exc:
                if not is_loss(exc):
                    raise cause(exc) from exc
                if num_losses == MAX_LOSSES:
                    raise QuireError(
                        f"shard {shard.shard_id} was lost with its runner {MAX_LOSSES} times: {exc}"
                    ) from exc
                _log.warning("shard %s was lost with its runner and is converted again: %s", shard.shard_id, exc)
                call = await self._begin(runner, engines, shard)
        raise AssertionError("unreachable")

    async def _answer(self, call: asyncio.Future[Any], runner: Any, shard: Shard) -> Any:
        """The answer to a call about a shard. Raises `_CallLost` if the runner answers other calls but does not have
        the shard: when nodes join and leave, a call may be lost without an error."""
        num_misses = 0
        try:
            while not (await asyncio.wait({call}, timeout=_MISS_EVERY_S))[0]:
                is_missed = shard.shard_id not in self._open.get(runner, {shard.shard_id})
                num_misses = num_misses + 1 if is_missed else 0
                if num_misses == _MAX_MISSES:
                    raise _CallLost("its runner is there and does not work on it")
        except BaseException:
            call.cancel()
            raise
        return call.result()

    async def _listen(self) -> None:
        """Ask the runners regularly what they do. Never returns. Raises `QuireError` when one has not answered for
        `PATIENCE_S`: its node is gone, and no new node has room for it."""
        clock = asyncio.get_running_loop().time
        heard_at = {runner: clock() for runner, _ in self._runners}
        told: set[Any] = set()
        while True:
            for runner, silence in (await self._ask()).items():
                silence_s = clock() - heard_at[runner]
                if not silence:
                    heard_at[runner] = clock()
                    told.discard(runner)
                elif silence_s > PATIENCE_S:
                    raise QuireError(f"a shard runner did not come back within {PATIENCE_S:g} s: {silence}")
                elif silence_s > _QUIET_S and runner not in told:
                    told.add(runner)
                    _log.warning(
                        "a shard runner does not answer; it has %g s to come back: %s", PATIENCE_S, silence
                    )
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _ask(self) -> dict[Any, str]:
        """Note what the runners do; returns why each of them does not answer, empty for those that do."""
        counts = self._done.copy()  # before asking: a shard that ends meanwhile would be counted as open, too
        runners = [runner for runner, _ in self._runners]
        answers = await asyncio.gather(*map(_look, runners), return_exceptions=True)
        silences = {}
        for runner, answer in zip(runners, answers, strict=True):
            silences[runner] = str(answer) or repr(answer) if isinstance(answer, BaseException) else ""
            if not isinstance(answer, BaseException):
                open_shards, self._sums[runner] = answer
                self._open[runner] = set(open_shards)
                counts = sum(open_shards.values(), counts)
        self._counts = counts
        return silences

    async def _tell_every_second(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self._tell()

    def _tell(self) -> Verdict | None:
        """Show and report what is done: shards that are finished, and pages of those that runners have open."""
        if any(sums.engine_s for sums in self._sums.values()):
            self._wait_for("reading the first pages")
        self._show(outcomes(self._counts))
        return self._meter.update(self._counts, self._sums.values())


async def _look(runner: Any) -> tuple[dict[str, Tally], FlowSums]:
    answer: tuple[dict[str, Tally], FlowSums] = await asyncio.wait_for(runner.look.remote(), _LOOK_TIMEOUT_S)
    return answer


async def _wait_until_alive(runner: Any) -> None:
    """While Ray restarts a killed runner, which takes seconds, calls to it fail at once. `Feeder` limits the time."""
    while True:
        with contextlib.suppress(RayActorError, TimeoutError):
            await _look(runner)
            return
        await asyncio.sleep(PROBE_SECONDS)
