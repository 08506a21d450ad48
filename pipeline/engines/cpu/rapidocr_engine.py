"""Reading pages on CPUs with RapidOCR: a pool of child processes, each with one thread and one page at a time.

Pixels go to a child through shared memory; what comes back are blocks in reading order, found by `rapidocr_worker.py`
and `page_layout`. A child that dies on a page is replaced, and the page is tried once more. A page that kills two, or
takes too much CPU, is rejected. This module knows no rapidocr: only children import it.

Peak resident memory of a child, measured on pages of 2 to 8 megapixels: 0.8 GB for a letter page at 150 dpi and
1.1 GB for the largest with onnxruntime, 1.0 and 1.4 GB with OpenVINO.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any, Literal

from quire.config.settings import Settings
from quire.engines.page_content import content_of
from quire.errors import EngineAway, MissingDependency, NotStarted, PageRejected
from quire.processes.cage import CageMode
from quire.processes.child_pool import Child, ChildPool, ChildSpec, once_more
from quire.processes.child_process import ChildDied, ChildProcess
from quire.processes.cpu_limit import STUCK_AFTER_S, OverLimit
from quire.records import Block, PageImage, Pixels, Recognition, Request

WORKER = "quire.engines.cpu.rapidocr_worker:RapidOcrWorker"
ARENA_BYTES = 64 << 20
"""Shared memory of one child: the largest page, 22 megapixels."""

_MIN_LEGIBLE_SHARE = 0.5  # of the length of the detected lines; pages in a known script are above 0.9,
# in an unknown one below 0.35 (Korean, Russian, Arabic, Devanagari; 19 pages compared)
_MEMORY_BYTES = {"onnxruntime": 1400 << 20, "openvino": None}  # OpenVINO reserves gigabytes that it never
# touches, and answers nonsense where it does not get them
_REPLACE_BYTES = 1100 << 20  # resident; a child that holds more after a page is replaced


class RapidOcrEngine:
    """Fulfils `LocalEngine`. Text order, blocks and scores depend on the page alone: the number of processes and the
    order of pages do not change them."""

    def __init__(
        self,
        num_processes: int,
        backend: Literal["onnxruntime", "openvino"] = "onnxruntime",
        page_cpu_s: float = 300.0,
        cage: CageMode = "best",
        *,
        worker: str = WORKER,
        stuck_after_s: float = STUCK_AFTER_S,
    ) -> None:
        """Check that the libraries are there; children start with the first pages. `worker`, another target for the
        children, and `stuck_after_s` are set in tests of faults only."""
        if worker == WORKER:
            _require("rapidocr", backend)
        self._backend = backend
        self._page_cpu_s = page_cpu_s
        self._stuck_after_s = stuck_after_s
        self._cage = cage
        self._worker = worker
        self._num_processes = num_processes
        spec = ChildSpec("OCR", self._make_child, most_resident_bytes=_REPLACE_BYTES)
        self._children = ChildPool(spec, num_processes)

    @property
    def window(self) -> int:
        """One page in each child and one that waits."""
        return self._num_processes + 1

    async def recognize(
        self, page: PageImage, request: Request, let_go: Callable[[], None] = lambda: None
    ) -> Recognition:
        """Read the page's last view without its padding; `request` has nothing that applies here.

        Raises `PageRejected`: too_many_pixels, engine_timeout, engine_crash, unsupported_script; `EngineAway` where a
        child cannot be started, `QuireError` where the machine does not let a child work.
        """
        pixels = content_of(page)
        if pixels.nbytes > ARENA_BYTES:
            megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
            raise PageRejected("too_many_pixels", f"{megapixels:.0f} megapixels; at most {ARENA_BYTES // 3e6:.0f}")
        async with self._children.lend() as child:
            try:
                reply = await once_more(lambda: self._read(child, pixels), ChildDied)
            except ChildDied as exc:
                raise PageRejected("engine_crash", f"the OCR process died twice on this page: {exc}") from exc
        return _recognition(reply)

    async def close(self) -> None:
        """Kill the children. Safe to call twice."""
        await self._children.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that run."""
        return self._children.pids

    def _make_child(self) -> ChildProcess:
        return ChildProcess(
            self._worker,
            {"backend": self._backend},
            arena_bytes=ARENA_BYTES,
            memory_bytes=_MEMORY_BYTES[self._backend],
            stuck_after_s=self._stuck_after_s,
            cage=self._cage,
        )

    async def _read(self, child: Child, pixels: Pixels) -> dict[str, Any]:
        request = {"height_px": pixels.shape[0], "width_px": pixels.shape[1]}
        try:
            return await child.call(request, self._page_cpu_s, pixels)
        except OverLimit as exc:
            raise PageRejected("engine_timeout", str(exc)) from exc
        except NotStarted as exc:
            raise EngineAway(str(exc)) from exc


def _require(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(f"{module} is not installed: pip install {module}")


def _recognition(reply: dict[str, Any]) -> Recognition:
    """A child's reply, which is not trusted to be well-formed, as a record.

    A page without any detected line is an empty page. One whose lines cannot be read is rejected: the
    recogniser answers nothing, or stray Latin letters, for a script that it does not know.
    """
    try:
        blocks = tuple(
            Block(str(block["label"]), str(block["text"]), _box(block["box"])) for block in reply["blocks"]
        )
        scores = [min(1.0, max(1e-6, float(score))) for score in reply["scores"]]
        text = "\n".join(str(line) for line in reply["lines"])
        num_boxes, legible_share = int(reply["num_boxes"]), float(reply["legible_share"])
    except (KeyError, TypeError, ValueError) as exc:
        raise PageRejected("engine_crash", f"malformed reply from the OCR process: {exc!r}") from exc
    if num_boxes and legible_share < _MIN_LEGIBLE_SHARE:
        message = f"{num_boxes} lines found, {legible_share:.0%} of their length legible"
        raise PageRejected("unsupported_script", message)
    mean = sum(math.log(score) for score in scores) / len(scores) if scores else None
    return Recognition(text=text, mean_logprob=mean, blocks=blocks)


def _box(value: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(edge) for edge in value)
    return (x0, y0, x1, y1)


async def start(settings: Settings, num_processes: int) -> RapidOcrEngine:
    """The engine `rapidocr` of the settings."""
    return RapidOcrEngine(
        num_processes,
        backend=settings.rapidocr.backend,
        page_cpu_s=settings.engine.page_cpu_s,
        cage=settings.render.sandbox,
    )
