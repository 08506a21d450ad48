"""A rendering worker that fails where it is told to, in ways in which real documents make real ones fail.

What it shall do stands behind the document's end, where no reader minds it, since a worker in its cage sees nothing but
the document: a JSON object from "renderer:page_index" (or "probe:renderer") to a fault.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from quire.processes.child_process_main import Json
from quire.rasterize.worker import RenderWorker
from quire.records import Pixels

_MARK = b"\n%faults "

_LIES: dict[str, Callable[[Json], None]] = {
    "other_mode": lambda reply: reply["layout"].update(mode="gundam9"),
    "mode_is_a_list": lambda reply: reply["layout"].update(mode=[1]),
    "no_hash": lambda reply: reply.update(sha256="\ud800"),
    "wide": lambda reply: reply["layout"].update(content_px=[10**30, 100]),
    "many_tokens": lambda reply: reply["layout"].update(num_image_tokens=2**40),
    "damage": lambda reply: reply.update(damage="said so"),
    "error": lambda reply: reply.update(failure={"kind": "render_error", "message": "said no"}),
    "odd_kind": lambda reply: reply.update(failure={"kind": "\ud800", "message": ""}),
}
"""What a process might say of a page; if a document has taken it over, also what no table could hold."""


def write_faults(document: Path, faults: dict[str, str]) -> None:
    """Replaces those of before. The file is a new one, as a worker tells by."""
    whole = document.read_bytes().partition(_MARK)[0]
    document.unlink()
    document.write_bytes(whole + _MARK + json.dumps(faults).encode())


def _read_faults(fd: int) -> dict[str, str]:
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    faults: dict[str, str] = json.loads(data.partition(_MARK)[2] or "{}")
    return faults


class KilledAtStart(RenderWorker):
    """Dies twice while it starts, as if killed from outside. Its password names the file that counts."""

    def __init__(self, settings: Json, arena: Pixels) -> None:
        counter = Path(settings["passwords"][0])
        num_starts = len(counter.read_bytes()) if counter.exists() else 0
        counter.write_bytes(b"x" * (num_starts + 1))
        if num_starts < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(settings, arena)


class FaultyWorker(RenderWorker):
    """Does what the real one does, except where a fault is planned."""

    _num_handled = 0

    def handle(self, request: Json) -> Json:
        self._num_handled += 1
        faults = _read_faults(request["fd"])
        if request["op"] == "probe":
            key = f"probe:{request['renderers'][0]}"
        else:
            key = f"{request['renderer']}:{request['page_index']}"
        fault = faults.get(key, "")
        reply = self._fail(fault) or super().handle(request)
        if fault in _LIES:
            _LIES[fault](reply)
        return reply

    def _fail(self, fault: str) -> Json:
        if fault == "hang":
            re.match(
                "(a+)+$", "a" * 100 + "b"
            )  # takes for ever, and keeps the interpreter lock, as native code does
        elif fault == "sleep":
            ctypes.PyDLL(None).sleep(1000)
        elif fault == "stopped" or (fault == "stopped_unless_fresh" and self._num_handled > 1):
            os.kill(os.getpid(), signal.SIGSTOP)
        elif fault == "abort":
            os.abort()
        elif fault == "segfault":
            ctypes.string_at(1)
        elif fault == "raise":
            raise RuntimeError("said no")
        elif fault == "exit":
            os._exit(3)
        elif fault == "bad_alloc":
            os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
            os.abort()
        elif fault == "abort_unless_fresh" and self._num_handled > 1:
            os.abort()
        elif fault == "nonsense":
            return {"layout": {"mode": 3}, "facts": {}, "sha256": None}
        elif fault == "out_of_arena":
            layout = {"mode": "tiny", "canvas_px": [10**6, 10**6], "content_px": [1, 1], "offset_px": [0, 0]}
            layout |= {"tile_cols": 0, "tile_rows": 0, "num_image_tokens": 1}
            facts = {"width_pt": 1.0, "height_pt": 1.0, "ink_share": 0.0}
            return {"layout": layout, "facts": facts, "sha256": ""}
        elif fault == "error":
            return {"failure": {"kind": "render_error", "message": "said no"}}
        return {}
