"""Retries with backoff, and notices to a person who waits for them. Knows no store."""

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
_MOST_DAMAGED = 3  # bodies; after that, the object itself counts as damaged


class Notice:
    """Logs that something waits, and for what: once a minute, however many threads wait."""

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
    """Call until it succeeds, or fails for good, or the retries or the time of the settings are used up. Waits twice as
    long each time, with a random factor (jitter): many callers must not retry at once. Calls `tell` with the error
    if it takes more than a few tries, obstore's own included."""
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
    """Seconds to wait after an attempt. The first attempt is 0."""
    return min(_LONGEST_WAIT_S, 0.1 * 2**attempt)
