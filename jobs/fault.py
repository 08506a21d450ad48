"""A fault of Quire's own, for a person in one line. Its traceback goes into a file, or to stderr with QUIRE_DEBUG=1."""

from __future__ import annotations

import sys
import tempfile
import traceback

from quire.config.settings import environment
from quire.secrets import redacted


def fault_in_words(error: BaseException) -> str:
    """Write the traceback; return one line that says what was raised, where, and where the traceback is. Both are free
    of secrets."""
    trace = redacted("".join(traceback.format_exception(error)))
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    what = redacted(traceback.format_exception_only(error)[-1].strip())
    return f"this is a fault of Quire: {what}. Please report it with its traceback, which is {_keep(trace)}"


def _keep(trace: str) -> str:
    """Returns where it is."""
    if not environment("QUIRE_DEBUG"):
        try:
            with tempfile.NamedTemporaryFile(
                "w", prefix="quire-fault-", suffix=".txt", delete=False, encoding="utf-8"
            ) as file:
                file.write(trace)
            return f"in {file.name} (with QUIRE_DEBUG=1 it comes here)"
        except OSError:
            pass  # a full disk: it goes to stderr instead
    sys.stderr.write(trace)
    return "above"
