"""An event loop whose clock jumps to the next timer: hours of waiting pass in seconds, and real code runs unchanged.

What is called in a thread (`asyncio.to_thread`) runs at once, in order, and takes the time that it says it took: a
stand-in for something slow calls `spend`. So a run has no races and is the same each time.

For coroutines that wait for timers and for each other only: real sockets, processes and threads are not looked at.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0."""

    def __init__(self) -> None:
        self._now = self._spent = 0.0
        super().__init__(_JumpingSelector(self.advance))

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def spend(self, seconds: float) -> None:
        """What runs in a thread now takes so much longer."""
        self._spent += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        self._spent = 0.0
        try:
            result = func(*args)
        except Exception as exc:
            self.call_later(self._spent, _unless_done, future, future.set_exception, exc)
        else:
            self.call_later(self._spent, _unless_done, future, future.set_result, result)
        return future


def run(main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine, made for the loop that it is given, in virtual time."""
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))


def _unless_done(future: asyncio.Future[T], settle: Callable[[Any], None], value: object) -> None:
    if not future.done():  # cancelled meanwhile
        settle(value)


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits and nothing is going to happen")
        self._advance(timeout)
        return []
