"""A proxy in front of an S3 server that breaks answers at a seeded rate, as a network and a busy store do.

One request a connection, bodies held in memory: right for tests, and for nothing else. It knows HTTP/1.1 only
as far as the S3 clients here speak it.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import Any

# The server's answer to a request ("GET /bucket/key"), as bytes, made another one.
Tamper = Callable[[str, bytes], bytes]

# What is done with a connection; whoever accepted it closes it.
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

_SLOW_DOWN = ("503 Slow Down", "SlowDown", "Please reduce your request rate.")
_CONFLICT = ("409 Conflict", "ConditionalRequestConflict", "A conflicting conditional operation is running.")


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Shares of requests, 0 to 1. `lost_answer` and `conflict` concern PUTs only."""

    slow_down: float = 0.0  # starts a burst of 503 answers; nothing reaches the server
    reset: float = 0.0  # the connection is reset before the request reaches the server
    cut_body: float = 0.0  # the answer's head and half of its body, then a reset
    lost_answer: float = 0.0  # the server performs the request; the connection is reset instead of an answer
    conflict: float = 0.0  # 409 to a PUT; nothing reaches the server


@dataclass(slots=True)
class FaultProxy:
    """`counts` tells how often each fault happened, and `passed`; `requests`, what was asked: "PUT /bucket/key" and
    the headers, whose names are in lower case."""

    target_port: int
    rates: FaultRates
    seed: int = 0
    burst_length: int = 3
    delay_s: float = 0.0  # before each answer
    drip_s: float = 0.0  # before each byte of a body
    tamper: Tamper = lambda request, answer: answer  # of what passes
    url: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, dict[bytes, bytes]]] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _burst_left: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def choose(self, method: str) -> str:
        """The fault for the next request, or `passed`."""
        if self._burst_left:
            self._burst_left -= 1
            return "slow_down"
        draw = self._random.random()
        for rate in fields(FaultRates):
            share = getattr(self.rates, rate.name)
            if draw < share:
                if rate.name in ("lost_answer", "conflict") and method != "PUT":
                    return "passed"
                self._burst_left = self.burst_length - 1 if rate.name == "slow_down" else 0
                return rate.name
            draw -= share
        return "passed"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head, body = await read_request(reader, writer)
            method, target, _ = head.decode("latin-1").split(" ", 2)
            request = f"{method} {target}"
            self.requests.append((request, _headers(head)))
            fault = self.choose(method)
            self.counts[fault] += 1
            await asyncio.sleep(self.delay_s)
            await self._answer(fault, request, head, body, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, as clients do

    async def _answer(
        self, fault: str, request: str, head: bytes, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        if fault in ("slow_down", "conflict"):
            writer.write(error_answer(*(_SLOW_DOWN if fault == "slow_down" else _CONFLICT)))
        elif fault == "reset":
            reset(writer)
        else:
            answer = self.tamper(request, await forward(self.target_port, head, body))
            head_size = answer.index(b"\r\n\r\n") + 4
            if fault == "lost_answer":
                reset(writer)
            elif fault == "cut_body" and len(answer) > head_size:
                writer.write(answer[: head_size + (len(answer) - head_size) // 2])
                await writer.drain()
                reset(writer)
            elif self.drip_s:
                await self._drip(answer, head_size, writer)
            else:
                writer.write(answer)
        if not writer.is_closing():
            await writer.drain()

    async def _drip(self, answer: bytes, head_size: int, writer: asyncio.StreamWriter) -> None:
        writer.write(answer[:head_size])
        for position in range(head_size, len(answer)):
            await asyncio.sleep(self.drip_s)
            writer.write(answer[position : position + 1])
            await writer.drain()


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, bytes]:
    """The request's head with the blank line, and its body as it came (chunk marks included)."""
    head = await reader.readuntil(b"\r\n\r\n")
    names = _headers(head)
    if b"expect" in names:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if b"chunked" in names.get(b"transfer-encoding", b""):
        return head, await reader.readuntil(b"\r\n0\r\n\r\n")
    return head, await reader.readexactly(int(names.get(b"content-length", b"0")))


async def forward(port: int, head: bytes, body: bytes) -> bytes:
    """The answer of the server at this port, its head and body."""
    async with connected(port) as (reader, writer):
        writer.write(with_close(head) + body)
        return with_close(await reader.read())


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to this port of the loopback, which is ended however its use ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
        await _close(writer)
    finally:
        writer.transport.abort()


async def _close(writer: asyncio.StreamWriter) -> None:
    """End the connection in order: what was written reaches the other side, if it is there."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def with_close(message: bytes) -> bytes:
    """The message told to be the last of its connection, and not to wait for a go-ahead (it had one)."""
    head, end, body = message.partition(b"\r\n\r\n")
    dropped = (b"connection:", b"expect:", b"keep-alive:")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(dropped)]
    return b"\r\n".join([*lines, b"Connection: close"]) + end + body


def error_answer(status: str, code: str, message: str = "") -> bytes:
    """What S3 says instead of an object: `status` as "404 Not Found", `code` as "NoSuchKey"."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def refused(request: str, status: str, code: str) -> bytes:
    """The same in answer to this request: a HEAD's has no body, so S3 cannot say why."""
    answer = error_answer(status, code)
    return answer.partition(b"<?xml")[0] if request.startswith("HEAD") else answer


def with_body(answer: bytes, body: bytes) -> bytes:
    """The same answer with another body, and its length."""
    head = answer.partition(b"\r\n\r\n")[0]
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body)]) + b"\r\n\r\n" + body


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def reset(writer: asyncio.StreamWriter) -> None:
    """Drop the connection with a TCP reset instead of an orderly end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def fault_proxy(
    target_port: int, rates: FaultRates = FaultRates(), seed: int = 0, **more: Any
) -> Iterator[FaultProxy]:
    """Run the proxy in a thread of its own, on a free port. `more`: other fields of `FaultProxy`."""
    proxy = FaultProxy(target_port, rates, seed, **more)
    with serving(proxy.serve) as (proxy.url, _):
        yield proxy


@contextmanager
def serving(serve: Serve) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    """A server in a thread of its own, on a free port: its address, and the loop that it runs in."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listener = asyncio.run_coroutine_threadsafe(Listener.of(serve), loop).result(timeout=60)
    try:
        yield f"http://127.0.0.1:{listener.port}", loop
    finally:
        asyncio.run_coroutine_threadsafe(listener.end(), loop).result(timeout=60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=60)
        loop.close()


class Listener:
    """A server on a free port of the loopback, and what serves its connections."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @classmethod
    async def of(cls, serve: Serve) -> Listener:
        listener = cls(serve)
        listener._server = await asyncio.start_server(listener._connected, "127.0.0.1", 0, limit=2**26)
        return listener

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    async def end(self) -> None:
        """Cut off what is served, then listen no more. What accepts a connection ends by itself, and must: asyncio
        leaves the socket open if it is cancelled, or if the server is closed before."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            while self._serving:
                self._serving.pop().cancel()
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        self._server.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def end(task: asyncio.Task[None]) -> None:
            self._serving.discard(task)
            writer.transport.abort()  # it may have been cut off before it began, or before all was sent

        task = asyncio.get_running_loop().create_task(self._attend(reader, writer))
        self._serving.add(task)
        task.add_done_callback(end)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the other side went away
            await self._serve(reader, writer)
        await _close(writer)
