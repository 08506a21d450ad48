"""Documents into page images, whatever is in them. Start here.

Opening and rendering happen in processes with limits of CPU time and memory. A page that hangs, crashes or explodes
costs its process and becomes a `Failure`; the next page gets a fresh process. A PDF page that one renderer cannot draw,
or whose drawing is not believed, is tried once with the other (`opinions.py`). This side of the border handles numbers
and pixels only, and trusts neither: a reply that makes no sense is a failed page as well.

It does not know which mode or which pages are wanted, nor Ray.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from quire.config.extras import MUPDF, install
from quire.config.sections import RenderSettings
from quire.config.settings import DEFAULT_RENDERER
from quire.errors import MissingDependency
from quire.processes.child_pool import Child, ChildPool, ChildSpec
from quire.processes.child_process import ChildDied, ChildProcess
from quire.processes.child_process_main import Json
from quire.processes.cores import num_cores
from quire.processes.cpu_limit import STUCK_AFTER_S, OverLimit
from quire.rasterize import media_type
from quire.rasterize.documents import is_about_memory, single_line, storable
from quire.rasterize.held_image import Hold, Rasterized, hold_for_once
from quire.rasterize.modes import Layout, layout
from quire.rasterize.opinions import Drawn, Go, Undrawn, settle, wants_another
from quire.rasterize.probe import Probe
from quire.rasterize.views import ARENA_BYTES, read_views
from quire.records import INK_MAP_SIDE, DocumentStatus, PageFacts, PageImage, PageRange

__all__ = ["Probe", "Sandbox"]

RENDER_WORKER = "quire.rasterize.worker:RenderWorker"
_OTHER_RENDERER = {"mupdf": "pdfium", "pdfium": "mupdf"}
_MAY_BE_THE_WORKERS_FAULT = ("render_memory", "render_crash")
_NONSENSE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError)
"""What using a child's reply may raise if a hostile document wrote it."""
_MOST_PAGES = 2**31
_KIND = re.compile(r"[a-z_]{1,60}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_TILES = 9
_MOST_PX = 2**15  # of a side, in any mode


class Sandbox:
    """Probes and renders in killable processes, at most `num_workers` at once; they start when needed, and end with
    `close`, or with the block that it is used in by `async with`.

    Use from one event loop. Memory is one page per call that is being consumed, and one arena per process.
    """

    def __init__(
        self,
        settings: RenderSettings,
        passwords: tuple[str, ...] = (),
        num_workers: int | None = None,
        *,
        target: str = RENDER_WORKER,
        pages_per_process: int = 500,
        stuck_after_s: float = STUCK_AFTER_S,
    ) -> None:
        """`num_workers` None: as the settings say. The parameters after it are set in tests of faults only."""
        self._settings = settings
        # MuPDF is an optional extra, for the sake of its licence.
        self._has_mupdf = not MUPDF.missing()
        if settings.renderer == "mupdf" and not self._has_mupdf:
            raise MissingDependency(
                f"the renderer mupdf needs PyMuPDF: {install([MUPDF])}, or choose --renderer pdfium"
            )
        child_settings: Json = {"max_pixels": settings.max_pixels, "passwords": list(passwords)}
        child_settings["renderers"] = self._renderers(media_type.PDF)

        def make_child() -> ChildProcess:
            memory_bytes = settings.memory_mb << 20
            return ChildProcess(
                target,
                child_settings,
                arena_bytes=ARENA_BYTES,
                memory_bytes=memory_bytes,
                stuck_after_s=stuck_after_s,
                cage=settings.sandbox,
            )

        count = num_workers or settings.num_workers or num_cores()
        self._pool = ChildPool(ChildSpec("rendering", make_child, pages_per_process), count)

    async def probe(self, path: Path) -> Probe:
        """What the document is. Never fails: a document that hangs or crashes every reader is corrupt.

        Raises OSError where the file itself cannot be read, `QuireError` where no process starts or works.
        """
        with path.open("rb") as file:
            return await self._probe(path, file)

    async def _probe(self, path: Path, file: BinaryIO) -> Probe:
        kind = media_type.sniff_file(file)
        renderers = self._renderers(kind)
        words = []
        async with self._pool.lend(path) as child:
            # All readers in one process; if that dies and had done other work, again in a fresh one, since the
            # document may be innocent; then the second reader alone.
            again = [renderers] if child.num_requests else []
            for number, asked in enumerate([renderers, *again, *([renderers[1:]] if renderers[1:] else [])]):
                request: Json = {"op": "probe", "fd": file.fileno(), "renderers": asked}
                try:
                    reply = await child.call(request, self._settings.probe_cpu_s)
                    if "failure" not in reply:
                        return _probe_from(reply)
                    words.append(single_line(str(reply["failure"]["message"])))
                except OverLimit as exc:
                    words.append(f"it cannot be opened: {exc} (hung)")
                except ChildDied as exc:
                    if number > 0 or not again:  # what that process had done before must not change the result
                        words.append(f"opening it crashes the reader ({_last_words(exc)})")
                except _NONSENSE:
                    child.stop()
                    words.append("the reader's answer makes no sense")
        return Probe(kind, 0, DocumentStatus.CORRUPT, "; ".join(dict.fromkeys(words)))

    async def rasterize(
        self,
        path: Path,
        source: PageRange,
        page_indices: Sequence[int],
        mode: str,
        hold: Hold[PageImage] = hold_for_once,
    ) -> AsyncIterator[Rasterized[PageImage]]:
        """Render pages of one document at one mode: one result for each index, in the order asked.

        Pixels are copies of their own. A process is occupied only while it renders, not while the consumer looks at a
        page; several calls share the processes. All pages come from the file that was opened first, whatever happens to
        its name. Raises OSError where it cannot be opened, `ConfigError` for an unknown mode.
        """
        layout(mode, 595, 842)  # refuses an unknown mode before any process is asked
        with path.open("rb") as file:
            for page_index in page_indices:
                async with self._pool.lend(path) as child:
                    rasterized = await self._rasterize_page(child, file, source, page_index, mode, hold)
                yield rasterized

    async def missing_of_cage(self) -> tuple[str, ...]:
        """What the processes' cage lacks on this machine, in words; empty where it is complete. Starts a process.
        Raises `QuireError` where that is more than the settings allow."""
        async with self._pool.lend() as child:
            return await child.missing_of_cage()

    async def close(self) -> None:
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _rasterize_page(
        self,
        child: Child,
        file: BinaryIO,
        source: PageRange,
        page_index: int,
        mode: str,
        hold: Hold[PageImage],
    ) -> Rasterized[PageImage]:
        started = time.perf_counter()
        request: Json = {"op": "render", "fd": file.fileno(), "page_index": page_index, "mode": mode}
        request |= {"media_type": source.media_type}
        goes: list[Go] = []
        for renderer in self._renderers(source.media_type):
            goes.append(await self._go(child, {**request, "renderer": renderer}, source.doc_id))
            if not wants_another(goes[-1]):
                break
        page, image = settle(page_index, goes, time.perf_counter() - started)
        return page, hold(page_index, image.info, image) if image is not None else None

    async def _go(self, child: Child, request: Json, doc_id: str) -> Go:
        """One renderer's try. A process that has drawn other pages may have failed because of them (a leak, a damaged
        heap), so the page gets a second try in a fresh one: which pages shared a process must not change the
        results."""
        was_fresh = child.num_requests == 0
        go = await self._go_once(child, request, doc_id)
        if isinstance(go, Drawn) or go.kind not in _MAY_BE_THE_WORKERS_FAULT:
            return go
        child.stop()
        return go if was_fresh else await self._go_once(child, request, doc_id)

    async def _go_once(self, child: Child, request: Json, doc_id: str) -> Go:
        renderer = request["renderer"]
        try:
            reply = await child.call(request, self._settings.page_cpu_s)
            if "failure" in reply:
                failure = reply["failure"]
                return Undrawn(renderer, _kind(failure["kind"]), single_line(str(failure["message"])))
            image, facts = _page_from(reply, child, doc_id, request)
            return Drawn(renderer, image, facts, _ink_map(reply["ink_map"]), single_line(str(reply["damage"])))
        except OverLimit as exc:
            return Undrawn(renderer, "render_timeout", f"it cannot be rendered: {exc} (hung)")
        except ChildDied as exc:
            kind = "render_memory" if is_about_memory(str(exc)) else "render_crash"
            return Undrawn(renderer, kind, _last_words(exc))
        except _NONSENSE:
            child.stop()
            return Undrawn(renderer, "render_crash", "the rendering process's answer makes no sense")

    def _renderers(self, kind: str) -> tuple[str, ...]:
        if kind.startswith("image/"):
            return ("pillow",)
        if not self._has_mupdf:
            return ("pdfium",)
        first = self._settings.renderer or DEFAULT_RENDERER
        return first, _OTHER_RENDERER[first]


def _page_from(reply: Json, child: Child, doc_id: str, request: Json) -> tuple[PageImage, PageFacts]:
    """The reply as records, the pixels copied. Raises one of `_NONSENSE` for what makes no sense."""
    named: Json = {name: _as_pairs(value) for name, value in reply["layout"].items()}
    chosen = Layout(**named)
    if not (0 <= chosen.tile_cols <= _MOST_TILES and 0 <= chosen.tile_rows <= _MOST_TILES):
        raise ValueError("no mode has so many tiles")
    if not all(
        0 < content <= canvas <= _MOST_PX
        for content, canvas in zip(chosen.content_px, chosen.canvas_px, strict=True)
    ):
        raise ValueError("no page has such a size")
    if chosen.mode != request["mode"] or not _SHA256.fullmatch(reply["sha256"]):
        raise ValueError("not what was asked for")
    numbers: Json = {name: _number(name, value) for name, value in reply["facts"].items()}
    facts = PageFacts(**numbers)
    shared = read_views(child.arena, chosen.view_shapes)
    image = PageImage(
        doc_id=doc_id,
        page_index=request["page_index"],
        mode=chosen.mode,
        width_px=chosen.content_px[0],
        height_px=chosen.content_px[1],
        tile_cols=chosen.tile_cols,
        tile_rows=chosen.tile_rows,
        num_image_tokens=int(_number("num_image_tokens", chosen.num_image_tokens)),
        dpi=chosen.content_px[1] * 72 / facts.height_pt,
        sha256=reply["sha256"],
        views=tuple(view.copy() for view in shared),
        content_box=chosen.content_box,
    )
    return image, facts


def _number(name: str, value: object) -> int | float:
    """A fact that a table can hold."""
    wanted = int if name.startswith("num_") else (int, float)
    if not isinstance(value, wanted) or not math.isfinite(value) or abs(value) >= 2**31:
        raise ValueError(f"the fact {name} is no such number")
    return value


def _ink_map(value: str) -> bytes:
    cells = bytes.fromhex(value)
    if len(cells) not in (0, INK_MAP_SIDE**2):
        raise ValueError("no map has so many cells")
    return cells


def _kind(value: object) -> str:
    """A kind of failure, as tables and counters name them."""
    if not isinstance(value, str) or not _KIND.fullmatch(value):
        raise ValueError("no failure is called so")
    return value


def _as_pairs(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _probe_from(reply: Json) -> Probe:
    metadata = tuple((storable(str(name)[:100]), storable(str(value)[:1000])) for name, value in reply["metadata"])
    status = DocumentStatus(reply["status"])
    num_pages = int(reply["num_pages"])
    if not 0 <= num_pages < _MOST_PAGES:
        raise ValueError("no document has so many pages")
    return Probe(
        single_line(str(reply["media_type"])), num_pages, status, single_line(str(reply["detail"])), metadata
    )


def _last_words(exc: ChildDied) -> str:
    """How the process ended and the last line that it wrote: those before it may be a traceback, which names this
    installation's files: two machines would write different tables."""
    how, _, words = str(exc).partition("; last words: ")
    return single_line("; last words: ".join([how, *words.splitlines()[-1:]]))
