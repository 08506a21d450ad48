"""An engine as its pool sees it: one state, and the table of what may follow it.

    STARTING ─► READY ◄─► RESERVED        READY, RESERVED: a life of the engine
        ▲         │           │
        └───── STOPPING ◄─────┘           GONE: given up, for good

Knows neither pages nor when a state changes: the pool decides that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, Protocol

from quire.rasterize.held_image import HeldImage
from quire.records import ImageT, Recognition, Request

_SECONDS_OF_AN_HOUR = 3600.0


class EngineHost(Protocol[ImageT]):
    """One engine, which can be started again after it died."""

    @property
    def window(self) -> int: ...

    async def start(self) -> None:
        """Start the engine, again if it died. Returns when it answers; raises `EngineDead` if it may be ready later,
        and anything else if it will not."""
        ...

    async def recognize(self, page: HeldImage[ImageT], request: Request) -> Recognition: ...

    async def stop(self) -> None:
        """End the engine, however stuck it is. It can be started again."""
        ...


class State(Enum):
    STARTING = "is being started"
    READY = "takes pages as they come"
    RESERVED = "is kept for a page that runs alone"
    STOPPING = "died or is stuck, and is being ended"
    GONE = "is given up"


_MAY_FOLLOW = {
    State.STARTING: {State.READY, State.GONE},
    State.READY: {State.RESERVED, State.STOPPING},
    State.RESERVED: {State.READY, State.STOPPING},
    State.STOPPING: {State.STARTING, State.GONE},
    State.GONE: frozenset[State](),
}


@dataclass(frozen=True, slots=True, eq=False)
class Death:
    """How a life ended. `may_run`: the engine's process may still run, and has to be ended."""

    at: float  # monotonic
    cause: str
    may_run: bool


Life = asyncio.Future[Death]
"""From READY until its death, which is its result. Pages lost to one death share it."""


@dataclass(slots=True, eq=False)
class Slot(Generic[ImageT]):
    host: EngineHost[ImageT]
    state: State = State.STARTING
    life: Life | None = None  # the present one, or the last
    num_busy: int = 0  # pages that hold it
    num_deaths: int = 0
    num_proofs: int = 0  # pages that it read in this life, Quire's own included
    num_fruitless: int = 0  # lives, one after the other, in which it failed on Quire's own page
    deaths: deque[Death] = field(
        default_factory=deque
    )  # of the last hour, without those that a page was blamed for
    proving: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_alive(self) -> bool:
        return self.state in (State.READY, State.RESERVED)

    @property
    def num_free(self) -> int:
        """Number of pages that it would take now."""
        return max(0, self.host.window - self.num_busy) if self.state is State.READY else 0

    def become(self, state: State) -> None:
        if state not in _MAY_FOLLOW[self.state]:
            raise RuntimeError(f"an engine that {self.state.value} cannot become one that {state.value}")
        self.state = state

    @property
    def present_life(self) -> Life:
        """The life of an engine that was ready before."""
        if self.life is None:
            raise RuntimeError(f"an engine that {self.state.value} has not lived yet")
        return self.life

    def begin_life(self) -> None:
        self.become(State.READY)
        self.life = asyncio.get_running_loop().create_future()
        self.num_proofs = 0

    def release(self, life: Life) -> None:
        """Let a reserved engine take pages again, if it is still in the life that was reserved."""
        if not life.done():
            self.become(State.READY)

    def end_life(self, life: Life, death: Death) -> Death:
        """Note the death of a life once, however many pages report it. Returns it as it was noted."""
        if life.done():
            return life.result()
        self.become(State.STOPPING)
        self.num_deaths += 1
        self.deaths.append(death)
        while self.deaths[0].at < death.at - _SECONDS_OF_AN_HOUR:
            self.deaths.popleft()
        life.set_result(death)
        return death

    def note_proof(self) -> None:
        self.num_proofs += 1
        self.num_fruitless = 0
