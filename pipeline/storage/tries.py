"""Trying again, and telling a person that they wait. Knows no store."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from quire.config.sections import StorageSettings
from quire.storage.store_errors import BodyDamaged, Vocabulary, has_given_up, is_transient

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 15.0
_SILENT_TRIES = 2
_BETWEEN_NOTICES_S = 60.0
_MOST_DAMAGED = 3  # bodies; then it is the object that is damaged


class Notice:
    """Tells a person that they wait, and for what: once a minute, however many wait."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def tell(self, message: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _BETWEEN_NOTICES_S
            _log.warning("%s", message)


def insist(
    call: Callable[[], T], settings: StorageSettings, vocabulary: Vocabulary, tell: Callable[[Exception], None]
) -> T:
    """Call until it succeeds, or fails for good, or the settings' number of tries or time is used up. Waits twice as
    long each time, give or take, so that a crowd does not come back at once. `tell` is told why if it takes more than a
    few tries, obstore's own among them."""
    start_s = time.monotonic()
    for attempt in range(settings.max_retries):
        try:
            return call()
        except vocabulary.client_errors as exc:
            wait_s = wait_after(attempt) * random.uniform(0.5, 1.5)
            if isinstance(exc, BodyDamaged) and attempt + 1 == _MOST_DAMAGED:
                raise
            seconds = time.monotonic() - start_s
            if not is_transient(exc, vocabulary) or seconds + wait_s > settings.retry_timeout_s:
                raise
            if attempt >= _SILENT_TRIES or has_given_up(exc):
                tell(exc)
            time.sleep(wait_s)
    return call()


def wait_after(attempt: int) -> float:
    """The seconds to wait after this attempt, the first of which is 0."""
    return min(_LONGEST_WAIT_S, 0.1 * 2**attempt)
