"""A proxy in front of an S3 server that holds one request: the server gets half of it, or nothing; the client waits.

All other requests pass. It knows of HTTP what `fault_proxy` knows, and not why somebody wants a request held.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.rigs.fault_proxy import connected, forward, read_request, serving, with_close

_ANSWER_BOUND_S = 30.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Which request to hold: the `number`-th whose line, "PUT /bucket/key", has the pattern in it."""

    pattern: str
    number: int = 1
    passes_half: bool = False  # the head and half of the body reach the server, or else nothing does


@dataclass(slots=True)
class HoldingProxy:
    """`held` is the line of the request that is held, empty before; `requests` are the lines of all. It is not told
    before those like it that came earlier were answered."""

    target_port: int
    hold: Hold
    url: str = ""
    held: str = ""
    requests: list[str] = field(default_factory=list)
    _num_matches: int = 0
    _answered: list[asyncio.Event] = field(default_factory=list)  # of those like it
    _is_let_go: asyncio.Event = field(default_factory=asyncio.Event)
    _is_done: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head, body = await read_request(reader, writer)
            line = unquote(head.partition(b" HTTP/")[0].decode("latin-1"))
            self.requests.append(line)
            if self._is_wanted(line):
                await self._keep(line, head, body)
            else:
                await self._pass(line, head, body, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, as clients do

    async def let_go(self) -> None:
        """End the request that is held, and see the server through with the half that it has."""
        self._is_let_go.set()
        if self.held:
            await asyncio.wait_for(self._is_done.wait(), _ANSWER_BOUND_S)

    def _is_wanted(self, line: str) -> bool:
        if re.search(self.hold.pattern, line):
            self._num_matches += 1
            return self._num_matches == self.hold.number
        return False

    async def _pass(self, line: str, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        answered = asyncio.Event()
        if re.search(self.hold.pattern, line):
            self._answered.append(answered)
        try:
            writer.write(await forward(self.target_port, head, body))
            await writer.drain()
        finally:
            answered.set()

    async def _hold(self, line: str) -> None:
        for earlier in list(self._answered):
            await earlier.wait()
        self.held = line
        await self._is_let_go.wait()

    async def _keep(self, line: str, head: bytes, body: bytes) -> None:
        try:
            if self.hold.passes_half:
                await self._pass_half(line, head, body)
            else:
                await self._hold(line)
        finally:
            self._is_done.set()

    async def _pass_half(self, line: str, head: bytes, body: bytes) -> None:
        async with connected(self.target_port) as (answer, server):
            server.write(with_close(head) + body[: len(body) // 2])
            await server.drain()
            await self._hold(line)
            server.write_eof()
            await answer.read()


@contextmanager
def holding_proxy(target_port: int, hold: Hold) -> Iterator[HoldingProxy]:
    """Run the proxy in a thread of its own, on a free port. What is held at the end is never answered."""
    proxy = HoldingProxy(target_port, hold)
    with serving(proxy.serve) as (proxy.url, loop):
        try:
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(proxy.let_go(), loop).result()
