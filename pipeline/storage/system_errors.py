"""What the operating system's errors mean: which of our exceptions they become, and whether a file may be at fault."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager

from quire.errors import DestinationGone, NotFound, PermissionDenied, StorageError, Unreadable

_OF_THE_MACHINE = {
    *(
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.ENOLCK,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
    ),
    *(errno.ENOTCONN, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT),  # of a mount
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENODEV),
}
"""Errors that are never one file's fault. EIO or ESTALE may concern one file or all of them, and are not here."""


@contextmanager
def read_errors(operation: str, uri: str) -> Generator[None]:
    """Turn the operating system's errors into storage errors that name the file and the operation: `ObjectError` if
    the file may be at fault."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound(f"cannot {operation} {uri}: {exc.strerror}") from exc
    except PermissionError as exc:
        raise PermissionDenied(_denied(operation, uri, exc)) from exc
    except OSError as exc:
        error = StorageError if exc.errno in _OF_THE_MACHINE else Unreadable
        raise error(f"cannot {operation} {uri}: {exc.strerror or exc}") from exc
    except ValueError as exc:  # NUL, or characters that the file system cannot hold
        raise NotFound(f"cannot {operation} {uri!r}: no file can have this name") from exc


@contextmanager
def write_errors(operation: str, uri: str) -> Generator[None]:
    """The same for files that Quire writes. Never an `ObjectError`: no document is at fault."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise DestinationGone(f"cannot {operation} {uri}: {exc.strerror}") from exc
    except PermissionError as exc:
        raise StorageError(_denied(operation, uri, exc)) from exc
    except OSError as exc:
        raise StorageError(f"cannot {operation} {uri}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise StorageError(f"cannot {operation} {uri!r}: no file can have this name") from exc


def _denied(operation: str, uri: str, exc: PermissionError) -> str:
    return f"cannot {operation} {uri}: {exc.strerror}; let the user that runs this read and write there"


def raise_if_of_the_machine(exc: OSError) -> None:
    if exc.errno in _OF_THE_MACHINE:
        raise exc
