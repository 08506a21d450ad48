"""Landlock: this process may read some files and folders, execute some, and write none.

Uses the kernel's own interface, three system calls: Python's standard library has none, and no binding is maintained
well enough to be trusted with this. Constants and structures are those of the kernel's linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # call numbers, the same on every architecture
_TELL_VERSION = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_RIGHTS_OF_FILES = _EXECUTE | _READ_FILE
_FILE_RIGHTS = {
    1: (1 << 13) - 1,
    2: 1 << 13,
    3: 1 << 14,
    5: 1 << 15,
}  # all rights, by the version that added them
_NETWORK_RIGHTS = {4: 0b11}  # to listen and to connect, by TCP
_SCOPES = {6: 0b11}  # abstract Unix sockets and signals


class _Ruleset(ctypes.Structure):
    """What is forbidden unless a rule allows it. Older kernels accept fields that they do not know if these are
    zero."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


def allow_only(readable: Iterable[str], runnable: Iterable[str]) -> None:
    """Restrict this thread, and those that it starts, to reading and executing these paths and what lies below them.
    Paths that do not exist are left out. Raises OSError if the kernel cannot do it or it is not permitted."""
    version = _system_call(_CREATE_RULESET, None, 0, _TELL_VERSION)
    ruleset = _Ruleset(*(_known(rights, version) for rights in (_FILE_RIGHTS, _NETWORK_RIGHTS, _SCOPES)))
    fd = _system_call(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        for path in readable:
            _allow(fd, path, _READ_FILE | _READ_DIR)
        for path in runnable:
            _allow(fd, path, _READ_FILE | _READ_DIR | _EXECUTE)
        _system_call(_RESTRICT_SELF, fd, 0)
    finally:
        os.close(fd)


def _known(rights: dict[int, int], version: int) -> int:
    return sum(added for since, added in rights.items() if since <= version)


def _allow(ruleset_fd: int, path: str, rights: int) -> None:
    try:
        path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = _PathBeneath(rights if os.path.isdir(path) else rights & _RIGHTS_OF_FILES, path_fd)
        _system_call(_ADD_RULE, ruleset_fd, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(path_fd)


def _system_call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in (number, *arguments)]
    result: int = libc.syscall(*wide)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
