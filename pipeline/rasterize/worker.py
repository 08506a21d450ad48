"""What runs inside a rendering process: probes documents and renders pages into the arena.

The target of a `ChildProcess`; it knows nothing of time or memory limits, which its parent sets. It keeps the
last document open, once per renderer, so that the pages of a document in a row open it once.

Requests: {"op": "probe", fd, renderers} and {"op": "render", fd, media_type, renderer, page_index, mode}; `fd` is the
document, open for reading. A probe's reply is a `Probe`, a render's holds `layout`, `facts`, `sha256`, `ink_map` (hex)
and `damage`; or there is a `failure`.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import BinaryIO

from quire.processes.child_process_main import Json
from quire.rasterize.documents import failure_of, load_libraries, open_document
from quire.rasterize.probe import probe
from quire.rasterize.views import OpenDocument, WrongPassword, hash_views, write_views
from quire.records import Pixels


class RenderWorker:
    """Holds the last opened document. `settings`: max_pixels, passwords, renderers."""

    def __init__(self, settings: Json, arena: Pixels) -> None:
        self._max_pixels = int(settings["max_pixels"])
        self._passwords = tuple(settings["passwords"])
        self._arena = arena
        self._file: BinaryIO | None = None
        self._version = (0, 0, 0)
        self._open: dict[str, OpenDocument] = {}
        load_libraries(settings["renderers"])  # while starting, so that no page pays for it

    def handle(self, request: Json) -> Json:
        try:
            file = self._hold(os.fdopen(request["fd"], "rb"))
            if request["op"] == "probe":
                return asdict(probe(file, self._passwords, request["renderers"], self._max_pixels))
            return self._render(file, request)
        except Exception as exc:  # the page border: whatever a document does, the next one gets its turn
            return _failure_reply(exc)

    def _render(self, file: BinaryIO, request: Json) -> Json:
        document = self._document(file, request["renderer"], request["media_type"])
        rendering = document.render(request["page_index"], request["mode"], self._max_pixels)
        num_bytes = write_views(rendering, self._arena)
        shapes = rendering.layout.view_shapes
        digest = hash_views(rendering.layout.mode, shapes, self._arena[:num_bytes])
        reply: Json = {"layout": asdict(rendering.layout), "facts": asdict(rendering.facts)}
        return {**reply, "sha256": digest, "ink_map": rendering.ink_map.hex(), "damage": rendering.damage}

    def _hold(self, file: BinaryIO) -> BinaryIO:
        """The file that is held if this is the same one, else this one in its place."""
        version = _version(file)
        if self._file is not None and version == self._version:
            file.close()
            return self._file
        while self._open:
            self._open.popitem()[1].close()
        if self._file is not None:
            self._file.close()
        self._file, self._version = file, version
        return file

    def _document(self, file: BinaryIO, renderer: str, media_type: str) -> OpenDocument:
        if renderer not in self._open:
            opened = open_document(renderer, file, media_type, self._passwords, self._max_pixels)
            self._open[renderer] = opened
        return self._open[renderer]


def _version(file: BinaryIO) -> tuple[int, int, int]:
    """Which file it is. Its modification time says nothing: the cache sets it to mark files as used."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size


def _failure_reply(exc: Exception) -> Json:
    if isinstance(exc, WrongPassword):
        kind, message = "needs_password", "needs a password to open"
    else:
        kind, message = failure_of(exc)
    return {"failure": {"kind": kind, "message": message}}
