"""A proxy for TCP that can be cut: every connection is reset, and the next ones too, as when a network fails.

Knows nothing of what passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tests.rigs.fault_proxy import connected, reset, serving


class TcpProxy:
    """`url` is where it listens; `num_cut` counts connections that were reset."""

    def __init__(self, target_port: int) -> None:
        self.url = ""
        self.num_cut = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self._target_port = target_port
        self._open: set[asyncio.StreamWriter] = set()
        self._num_to_refuse = 0

    def cut(self, num_refused: int) -> None:
        """Reset what is open, and the next `num_refused` connections as they come. From any thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._cut, num_refused)

    def _cut(self, num_refused: int) -> None:
        self._num_to_refuse = num_refused
        for writer in list(self._open):
            self._reset(writer)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        self.num_cut += 1
        reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._num_to_refuse:
            self._num_to_refuse -= 1
            self._reset(writer)
            return
        self._open.add(writer)
        try:
            async with connected(self._target_port) as (there, back):
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            self._open.discard(writer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # cut, or left
    writer.close()


@contextmanager
def tcp_proxy(target_port: int) -> Iterator[TcpProxy]:
    """Run the proxy in a thread of its own, on a free port."""
    proxy = TcpProxy(target_port)
    with serving(proxy.serve) as (proxy.url, proxy.loop):
        yield proxy
