"""What runs in a cluster's worker processes: rasterizer tasks and engine actors.

Knows nothing of shards, nor of its callers.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import uuid
from collections.abc import Awaitable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from quire.config.sections import FlowSettings, RenderSettings, StorageSettings
from quire.config.settings import Settings
from quire.conversion.document_budget import BudgetedRasterizer
from quire.engines.base import LocalEngine
from quire.engines.choose import make_engine
from quire.errors import EngineAway, EngineDead, ImageLost, PageRejected
from quire.rasterize.fetching import FetchingRasterizer
from quire.rasterize.held_image import hold_for_once
from quire.rasterize.sandbox import Sandbox
from quire.records import Failure, PageImage, PageRange, RasterizedPage, Recognition, Request
from quire.storage.cache_folder import open_cache

remote: Any = ray.remote  # Ray's stubs know neither streaming tasks nor concurrent actors

MAX_CALLS = 1 << 14
"""Calls that an actor takes at once: more than any engine's window and than twice `flow.open_shards`. Further calls
wait unseen, and checks whether the actor is alive wait behind them."""

_FETCH_TIMEOUT_S = 60.0  # of an image from another node; megabytes
_KEPT_S = 600.0  # for an answer that nobody fetches: its runner is gone

_Answer = tuple[Recognition | Failure, int]


@dataclass(frozen=True, slots=True)
class Work:
    """What every process of a run is told. `output_uri` is absolute; `provenance`: see `ShardWriter`. Ray passes
    passwords on between its processes; they reach no file of Quire's."""

    settings: Settings
    output_uri: str
    provenance: Mapping[str, str]
    passwords: tuple[str, ...] = ()


@remote(max_retries=0, num_returns="streaming")
def rasterize_chunk(
    work: Work, source: PageRange, page_indices: Sequence[int], mode: str
) -> Iterator[RasterizedPage | PageImage]:
    """Yields, for each page, its record, then its image if there is one."""
    settings = work.settings
    loop, rasterizer = _worker_rasterizer(settings.render, settings.flow, settings.storage, work.passwords)
    pages = BudgetedRasterizer(rasterizer).rasterize(source, page_indices, mode, hold_for_once)
    for _ in page_indices:
        page, image = loop.run_until_complete(anext(pages))
        yield page
        if image is not None:
            yield loop.run_until_complete(image.get())
            image.let_go()


@functools.lru_cache(maxsize=1)
def _worker_rasterizer(
    render: RenderSettings, flow: FlowSettings, storage: StorageSettings, passwords: tuple[str, ...]
) -> tuple[asyncio.AbstractEventLoop, FetchingRasterizer]:
    """This worker process's own sandbox, kept between tasks: its child holds the last document open."""
    sandbox = Sandbox(render, passwords, num_workers=1)
    return asyncio.new_event_loop(), FetchingRasterizer(open_cache(flow, storage), sandbox)


class EngineWorker:
    """One engine. When the engine dies, its process ends too, or Ray would still send pages to it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._life = uuid.uuid4().hex
        self._engine: LocalEngine | None = None
        self._starting = asyncio.Lock()
        self._begun: dict[str, asyncio.Task[_Answer]] = {}

    async def start(self) -> tuple[str, int]:
        """Start the engine if it is not started. Returns the id of this start of the actor, and the engine's window.
        Loading a model takes a minute; the caller may call again meanwhile."""
        async with self._starting:
            if self._engine is None:
                self._engine = await make_engine(self._settings, num_processes=1)
        return self._life, self._engine.window

    def _window(self) -> int:
        return self._engine.window if self._engine else 1

    async def begin(self, image: Sequence[Awaitable[PageImage]], request: Request) -> str:
        """Begin to read a page; returns when the engine no longer needs its pixels. The returned ticket is for
        `finish`, and unique also across restarts of this actor. Raises `ImageLost`.

        `image` is one reference, in a list so that Ray does not fetch it before the call: it would wait ten minutes for
        an image that was lost with its node.
        """
        if self._engine is None:
            raise EngineAway("the engine's process is new and not started yet")
        try:
            page = await asyncio.wait_for(image[0], _FETCH_TIMEOUT_S)
        except (TimeoutError, RayError) as exc:
            raise ImageLost(f"a page's image did not come: {exc!r}") from exc
        is_read = asyncio.Event()
        answer = self._engine.recognize(page, request, is_read.set)
        task = asyncio.get_running_loop().create_task(self._answer(answer))
        task.add_done_callback(lambda _: is_read.set())
        ticket = uuid.uuid4().hex
        self._begun[ticket] = task
        asyncio.get_running_loop().call_later(_KEPT_S, self._forget, ticket)
        await is_read.wait()
        return ticket

    async def finish(self, ticket: str) -> _Answer:
        """The answer for this ticket, which is given out once, and the engine's present window."""
        task = self._begun.pop(ticket, None)
        if task is None:
            raise EngineDead("the engine's process died with this page, and this is a new one")
        return await task

    def _forget(self, ticket: str) -> None:
        if task := self._begun.pop(ticket, None):
            task.cancel()

    async def _answer(self, answer: Coroutine[Any, Any, Recognition]) -> _Answer:
        try:
            return await answer, self._window()
        except PageRejected as exc:
            return Failure("recognize", exc.kind, exc.message), self._window()
        except EngineAway:
            raise  # the engine had not reached the page: nothing has died
        except EngineDead:
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(1)


EngineActor = remote(max_restarts=-1, max_task_retries=0, max_concurrency=MAX_CALLS)(EngineWorker)


def is_loss(error: Exception) -> bool:
    """Whether the cause is a lost process or node, and no error of the remote code. Ray wraps a loss in the error of
    the task that waited for it."""
    return not isinstance(error, RayTaskError) or isinstance(error.cause, RayError)


def cause(error: Exception) -> Exception:
    """What the remote code raised, as this process would have seen it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error
