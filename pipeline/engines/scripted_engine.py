"""The scripted engine: reads nothing, answers deterministically, and misbehaves as told.

A real part, not a mock: tests and benchmarks run whole pipelines on it, on one machine and on Ray. What it
says about a page follows from the page's pixels (their sha256) and identity alone, so two runs agree to the
byte. Behaviours, by page (`pages`) or by share of pages drawn by a hash of their identity:

    loop       the text repeats until the token limit, at the first mode of the ladder only
    truncate   the text stops at the token limit, at the first mode only
    always_loop, always_truncate   the same at every mode
    stall      never answers
    reject     `PageRejected("scripted_reject", …)`
    crash      the engine dies (`EngineDead`), and with it every page in flight, each time it gets this page
    crash_once the engine dies the first time only; needs `journal`, which remembers

`journal` names a file to which each call appends "doc_id page_index mode" as one line when it begins: the count of
engine calls survives any crash. `trace` names one to which it appends "start end" (seconds of the system's monotonic
clock) when it ends: how busy the slots were.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from quire.config.engines import ScriptedSettings
from quire.config.settings import Settings
from quire.engines.ladder import ladder
from quire.errors import EngineAway, EngineDead, PageRejected
from quire.records import PageImage, Recognition, Request

_SHARES = ("loop", "truncate", "reject", "crash")
_WORDS = [
    "archive",
    "binding",
    "chapter",
    "column",
    "corpus",
    "edition",
    "engraving",
    "folio",
    "footnote",
    "glyph",
    "index",
    "ink",
    "leaf",
    "ledger",
    "letter",
    "library",
    "line",
    "margin",
    "manuscript",
    "page",
    "paper",
    "parchment",
    "plate",
    "press",
    "quire",
    "reader",
    "record",
    "recto",
    "register",
    "scribe",
    "script",
    "sheet",
    "shelf",
    "spine",
    "tablet",
    "title",
    "type",
    "verso",
    "volume",
]


class ScriptedEngine:
    """Fulfils the engine contract with `window` slots of `seconds_per_page` each."""

    def __init__(self, settings: ScriptedSettings, first_mode: str) -> None:
        self._settings = settings
        self._first_mode = first_mode
        self._died = asyncio.Event()
        self.num_busy = 0

    @property
    def window(self) -> int:
        return self._settings.window

    async def recognize(
        self, page: PageImage, request: Request, let_go: Callable[[], None] = lambda: None
    ) -> Recognition:
        if self._died.is_set():
            raise EngineAway("the scripted engine has crashed before")
        page = replace(page, views=())  # as a model does, it has read the page long before it answers
        let_go()
        behaviour = self._behaviour(page)
        behaviour = self._remember(page, request, behaviour)
        self.num_busy += 1
        started = time.monotonic()
        try:
            await self._work(page, behaviour)
        finally:
            self.num_busy -= 1
            if self._settings.trace:
                _append(self._settings.trace, f"{started:.4f} {time.monotonic():.4f}\n")
        return self._answer(page, request, behaviour)

    async def close(self) -> None:
        self._died.set()

    async def _work(self, page: PageImage, behaviour: str) -> None:
        """Take the page's time; the death of the engine interrupts whatever is in flight."""
        if behaviour.startswith("crash"):
            self._died.set()
        seconds = self._settings.seconds_per_page * self._factor(page)
        try:
            async with asyncio.timeout(None if behaviour == "stall" else seconds):
                await self._died.wait()
            raise EngineDead(f"the scripted engine crashed while it read page {page.page_index}")
        except TimeoutError:
            if behaviour == "reject":
                raise PageRejected("scripted_reject", "rejected as scripted") from None

    def _answer(self, page: PageImage, request: Request, behaviour: str) -> Recognition:
        text = scripted_text(page, self._settings.num_words)
        is_first = page.mode == self._first_mode
        if behaviour == "always_loop" or (behaviour == "loop" and is_first):
            return Recognition(text + "again and again " * 200, "length", request.max_output_tokens, -0.1)
        if behaviour == "always_truncate" or (behaviour == "truncate" and is_first):
            return Recognition(text[: len(text) // 2], "length", request.max_output_tokens, -0.1)
        return Recognition(text, "stop", len(text.split()), -0.05)

    def _behaviour(self, page: PageImage) -> str:
        for key, behaviour in self._settings.pages.items():
            doc_id, _, page_index = key.partition(":")
            if page.doc_id.startswith(doc_id) and page.page_index == int(page_index):
                return behaviour
        drawn = _share(page, "behaviour")
        for name in _SHARES:
            drawn -= getattr(self._settings, f"{name}_share")
            if drawn < 0:
                return name
        return "read"

    def _factor(self, page: PageImage) -> float:
        return self._settings.tail_factor if _share(page, "tail") < self._settings.tail_share else 1.0

    def _remember(self, page: PageImage, request: Request, behaviour: str) -> str:
        if not self._settings.journal:
            return behaviour
        line = f"{page.doc_id} {page.page_index} {request.mode}\n"
        if behaviour == "crash_once" and line in _read(self._settings.journal):
            behaviour = "read"
        _append(self._settings.journal, line)
        return behaviour


async def start(settings: Settings, _: int) -> ScriptedEngine:
    """The engine `scripted` of the settings."""
    return ScriptedEngine(settings.scripted, ladder(settings.engine)[0].mode)


def scripted_text(page: PageImage, num_words: int) -> str:
    """What the engine reads off a page: a heading that names the page, then words drawn from its pixels."""
    draw = random.Random(page.sha256)
    words = " ".join(draw.choices(_WORDS, k=num_words))
    return f"# Page {page.page_index + 1} of {page.doc_id[:12]}\n\n{words}.\n"


def _share(page: PageImage, salt: str) -> float:
    """A number in [0, 1) that follows from the page's identity."""
    digest = hashlib.sha256(f"{salt} {page.doc_id} {page.page_index}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _append(path: str, line: str) -> None:
    """One write to a file opened for appending: whole lines, however many processes write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def journal_counts(path: Path) -> Mapping[tuple[str, int, str], int]:
    """How often each (doc_id, page_index, mode) was asked for."""
    counts: dict[tuple[str, int, str], int] = {}
    for line in _read(str(path)).splitlines():
        doc_id, page_index, mode = line.split()
        key = (doc_id, int(page_index), mode)
        counts[key] = counts.get(key, 0) + 1
    return counts
