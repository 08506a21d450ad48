"""What runs inside a rendering process: probes documents and renders pages into the arena.

The target of a `ChildProcess`; it knows nothing of time or memory limits, which its parent sets. It keeps the
last document open, once per renderer, so that the pages of a document in a row open it once.

Requests: {"op": "probe", path, renderers} and {"op": "render", path, media_type, renderer, page_index, mode}. A
render's reply holds `layout`, `facts`, `sha256`, `ink_map` (hex) and `damage`, or `failure`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pipeline.child_process_main import Json
from pipeline.rasterize.documents import failure_of, load_libraries, open_document
from pipeline.rasterize.probe import probe
from pipeline.rasterize.views import OpenDocument, WrongPassword, hash_views, write_views
from pipeline.records import Pixels


class RenderWorker:
    """Holds the last opened document. `settings`: max_pixels, passwords, renderers."""

    def __init__(self, settings: Json, arena: Pixels) -> None:
        self._max_pixels = int(settings["max_pixels"])
        self._passwords = tuple(settings["passwords"])
        self._arena = arena
        self._version: tuple[str, int, int] = ("", 0, 0)
        self._open: dict[str, OpenDocument] = {}
        load_libraries(settings["renderers"])  # while starting, so that no page pays for it

    def handle(self, request: Json) -> Json:
        if request["op"] == "probe":
            path = Path(request["path"])
            return asdict(probe(path, self._passwords, request["renderers"], self._max_pixels))
        try:
            return self._render(request)
        except Exception as exc:  # the page border: whatever a page does, the next one gets its turn
            return _failure_reply(exc, request)

    def _render(self, request: Json) -> Json:
        document = self._document(request)
        rendering = document.render(request["page_index"], request["mode"], self._max_pixels)
        num_bytes = write_views(rendering, self._arena)
        shapes = rendering.layout.view_shapes
        digest = hash_views(rendering.layout.mode, shapes, self._arena[:num_bytes])
        reply: Json = {"layout": asdict(rendering.layout), "facts": asdict(rendering.facts)}
        return {**reply, "sha256": digest, "ink_map": rendering.ink_map.hex(), "damage": rendering.damage}

    def _document(self, request: Json) -> OpenDocument:
        path, renderer = Path(request["path"]), request["renderer"]
        status = path.stat()
        version = (str(path), status.st_ino, status.st_size)
        if version != self._version:
            self._close_all()
            self._version = version
        if renderer not in self._open:
            kind = request["media_type"]
            self._open[renderer] = open_document(renderer, path, kind, self._passwords, self._max_pixels)
        return self._open[renderer]

    def _close_all(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _failure_reply(exc: Exception, request: Json) -> Json:
    if isinstance(exc, WrongPassword):
        kind, message = "needs_password", "needs a password to open"
    else:
        kind, message = failure_of(exc, Path(request["path"]))
    return {"failure": {"kind": kind, "message": message}}
