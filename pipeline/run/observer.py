"""Who is told how a run goes. The one here does nothing with it, as the library's; the commands' prints it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Meter(Protocol):
    """Shows one phase of a run."""

    def wait_for(self, what: str) -> None:
        """The first one waits for this, in words."""

    def show(self, counts: Mapping[str, int]) -> None:
        """How many are done so far in this phase, by outcome or status. Called often."""


class Observer:
    """Hears of a run, in the event loop's thread but for `say`, which any thread may call."""

    def say(self, words: str) -> None:
        """Something that whoever watches should know, in a line or a few."""

    def phase(
        self, label: str, noun: str, total: int | None = None, num_done: int = 0
    ) -> AbstractContextManager[Meter]:
        """A phase begins: so many things (`noun`, in the singular) are to be done in all, if that is known, and so many
        were done before. What is returned is entered, and left when the phase ends."""
        return nullcontext(_Unwatched())

    def joined_cluster(self) -> None:
        """The process has joined a cluster, whose library may have installed handlers of signals."""


class _Unwatched:
    def wait_for(self, what: str) -> None:
        pass

    def show(self, counts: Mapping[str, int]) -> None:
        pass
