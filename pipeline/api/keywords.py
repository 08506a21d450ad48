"""Settings as keywords of a call, and calls that wait for a coroutine. Does not know what the settings do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

from quire.config.settings import Settings
from quire.config.settings_file import read_toml, settings_of

T = TypeVar("T")
Section = Mapping[str, Any]


class Keywords(TypedDict, total=False):
    """A section of settings each, as `quire settings` lists them, as a dictionary with some of its keys; they win over
    the TOML file `config`. `engine` may be a name alone."""

    config: str | Path
    storage: Section
    plan: Section
    render: Section
    engine: str | Section
    rapidocr: Section
    tesseract: Section
    vllm: Section
    http: Section
    scripted: Section
    text: Section
    flow: Section
    cost: Section
    canary: Section
    ray: Section
    metrics: Section
    nightly: Section


def settings_from(keywords: Keywords) -> Settings:
    """Raises `ConfigError` for what is no setting, or no value of one."""
    given = dict(cast("Mapping[str, Any]", keywords))
    path = given.pop("config", None)
    table: dict[str, Any] = read_toml(Path(path)) if path is not None else {}
    if isinstance(given.get("engine"), str):
        given["engine"] = {"name": given["engine"]}
    for section, values in given.items():
        table[section] = {**table.get(section, {}), **values} if isinstance(values, Mapping) else values
    return settings_of(table)


class LoopThread:
    """An event loop in a thread of its own, so that a call may wait for coroutines wherever it is made: a notebook's
    thread has a loop already. Child processes end with the thread that started them, so it lives as long as they."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="quire", daemon=True)
        self._thread.start()

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Ctrl-C cancels it, and is raised once it has ended."""

        async def begin() -> asyncio.Task[T]:
            return asyncio.create_task(work)

        task = asyncio.run_coroutine_threadsafe(begin(), self._loop).result()
        ended = threading.Event()
        self._loop.call_soon_threadsafe(task.add_done_callback, lambda _: ended.set())
        try:
            ended.wait()
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(task.cancel)
            ended.wait()
            raise
        return task.result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, run in a loop of its own. Ctrl-C cancels it, and is raised once it has ended."""
    thread = LoopThread()
    try:
        return thread.wait_for(work)
    finally:
        thread.close()
