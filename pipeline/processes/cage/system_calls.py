"""seccomp: the system calls that a child needs for reading a document, and no others.

An allow list, since every kernel brings new calls. A call that is not on it fails with ENOSYS, as on an older kernel,
so libraries fall back to what they do there.

Uses libseccomp, which knows the numbers of calls on every architecture and is part of every Debian, Ubuntu and Fedora.
Its few functions are called through ctypes: its Python bindings have no wheels, or have not been maintained for years.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import termios
from collections.abc import Iterable
from typing import Any

_ALLOWED = """
    read readv pread64 preadv write writev lseek close dup dup2 dup3
    stat lstat fstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents64 getcwd
    fadvise64 poll ppoll select pselect6 recvfrom recvmsg sendto
    munmap mremap mprotect madvise brk mbind get_mempolicy membarrier
    futex futex_waitv set_robust_list rseq gettid sched_yield sched_getaffinity sched_setaffinity getcpu exit exit_group
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage
    getpid getppid getuid geteuid getgid getegid uname sysinfo getrandom getrlimit
"""
_ALLOWED_TO_EXECUTE = "execve arch_prctl set_tid_address"

_FCNTL_COMMANDS = (
    *(fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL),
)
_IOCTL_COMMANDS = (termios.TCGETS, termios.FIOCLEX, termios.FIONCLEX)  # is it a terminal, close it on exec or not
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x00010000
_ALL_BITS = 0xFFFFFFFF  # of an int, whose register may hold more

_ACT_ALLOW = 0x7FFF0000  # the constants of seccomp.h
_ACT_ERRNO = 0x00050000
_CMP_MASKED_EQ = 7
_UNKNOWN_CALL = -1
_ATTR_ALL_THREADS = 4  # SCMP_FLTATR_CTL_TSYNC


class _Comparison(ctypes.Structure):
    """An argument of a call, the bits of it that count, and what they must be."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def allow_only(is_to_execute: bool) -> None:
    """Restrict all threads of this process, which must have no_new_privs set. `is_to_execute`: it will become another
    program. Raises OSError if libseccomp is not installed, the kernel cannot do it, or it is not permitted."""
    library: Any = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    filter_ = ctypes.c_void_p(library.seccomp_init(_ACT_ERRNO | errno.ENOSYS))
    try:
        _check(library.seccomp_attr_set(filter_, _ATTR_ALL_THREADS, 1))
        for name, comparisons in _rules(is_to_execute):
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == _UNKNOWN_CALL:  # newer than this libseccomp
                continue
            array = (_Comparison * len(comparisons))(*comparisons)
            _check(library.seccomp_rule_add_array(filter_, _ACT_ALLOW, number, len(comparisons), array))
        _check(library.seccomp_load(filter_))
    finally:
        library.seccomp_release(filter_)


def _rules(is_to_execute: bool) -> Iterable[tuple[str, tuple[_Comparison, ...]]]:
    """Calls by name, each with what must hold of its arguments."""
    for name in (_ALLOWED + (_ALLOWED_TO_EXECUTE if is_to_execute else "")).split():
        yield name, ()
    yield "open", (_where(1, _WRITING, 0),)
    yield "openat", (_where(2, _WRITING, 0),)
    yield "mmap", (_where(3, mmap.MAP_SHARED, 0),)  # shared memory is beyond the memory limit
    yield (
        "clone",
        (_where(0, _CLONE_THREAD, _CLONE_THREAD),),
    )  # threads; clone3, whose flags cannot be seen, is refused
    yield "prlimit64", (_where(0, _ALL_BITS, 0), _where(2, 2**64 - 1, 0))  # ask for one's own limits, set none
    own_pid = os.getpid()
    yield "kill", (_where(0, _ALL_BITS, own_pid),)
    yield "tgkill", (_where(0, _ALL_BITS, own_pid),)
    for command in _FCNTL_COMMANDS:
        yield "fcntl", (_where(1, _ALL_BITS, command),)
    for command in _IOCTL_COMMANDS:
        yield "ioctl", (_where(1, _ALL_BITS, command),)


def _where(argument: int, mask: int, value: int) -> _Comparison:
    return _Comparison(argument, _CMP_MASKED_EQ, mask, value)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
