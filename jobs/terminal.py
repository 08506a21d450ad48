"""How a run is shown to a person: messages and progress on stderr, as log lines if stderr is not a terminal."""

from __future__ import annotations

from contextlib import AbstractContextManager

import click

from quire.jobs.ending import heed_sigterm
from quire.meters.progress import Progress
from quire.run.observer import Meter, Observer


class Terminal(Observer):
    """Fulfils the contract of its base."""

    def say(self, words: str) -> None:
        click.echo(words, err=True)

    def phase(
        self, label: str, noun: str, total: int | None = None, num_done: int = 0
    ) -> AbstractContextManager[Meter]:
        return Progress(label, noun, total, num_done)

    def joined_cluster(self) -> None:
        heed_sigterm()
