"""Targets of child processes that do what a document might make one do that it has taken over.

Each request names a method of `TakenOver`; what that raises is the reply's `error`, in words.
"""

from __future__ import annotations

import fcntl
import os
import sys
from typing import Any

from pipeline.child_process_main import Json
from pipeline.records import Pixels


class TakenOver:
    def __init__(self, settings: Json, arena: Pixels) -> None: ...

    def handle(self, request: Json) -> Json:
        try:
            return {"answer": getattr(self, request["do"])(**request.get("with", {}))}
        except OSError as exc:
            return {"error": repr(exc)}

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def path(self) -> list[str]:
        return sys.path

    def shrink_arena(self) -> None:
        os.ftruncate(_arena_fd(), 0)

    def grow_arena(self) -> None:
        os.ftruncate(_arena_fd(), 2 << 20)

    def unseal_arena(self) -> None:
        fcntl.fcntl(_arena_fd(), fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def _arena_fd() -> int:
    return int(sys.argv[3])


def ask(do: str, **arguments: Any) -> Json:
    """The request that makes `TakenOver` do this."""
    return {"do": do, "with": arguments}
