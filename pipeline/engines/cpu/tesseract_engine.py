"""Reading pages on CPUs with the Tesseract program, where it is on PATH.

One process per page (a second one if the first was killed), one thread each, at most `num_processes` at a time. The
image goes in through a pipe as a PNM, which costs no compression; TSV comes out. Blocks and paragraphs are Tesseract's
own; headings are told by the height of their lines. Tesseract is asked for one language set and answers something for
every script: a low confidence is the only sign of a script that it does not know.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import math
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from quire.config.settings import Settings
from quire.engines.cpu.tesseract_languages import environment_of_tesseract, missing_for_tesseract
from quire.engines.page_content import content_of
from quire.errors import EngineAway, EngineDead, MissingDependency, PageRejected
from quire.page_layout.lines import Line, bounds
from quire.page_layout.paragraphs import join_text
from quire.processes.cage import CageMode, program
from quire.processes.child_pool import once_more, or_in_a_fresh_process
from quire.processes.child_process import check_cage
from quire.processes.cpu_limit import STUCK_AFTER_S, OverLimit, within_cpu
from quire.records import Block, PageImage, Pixels, Recognition, Request

_HEADING = 1.3  # a heading's lines over the page's median
_MAX_HEADING_CHARS = 160
_DPI = 150  # told to Tesseract where the page does not know its own
_MIN_CONFIDENCE = 0.4  # mean over a page; English at 150 dpi is above 0.8, other scripts are at 0.1-0.4


@dataclass(frozen=True, slots=True)
class Word:
    """A row of the TSV: `key` is (block, paragraph, line); `confidence` 0–1."""

    key: tuple[int, int, int]
    line: Line


class _Killed(Exception):
    """A signal ended the process."""


class TesseractEngine:
    """Fulfils `LocalEngine`."""

    def __init__(
        self,
        num_processes: int,
        languages: str = "eng",
        page_cpu_s: float = 300.0,
        cage: CageMode = "best",
        *,
        executable: str = "tesseract",
        stuck_after_s: float = STUCK_AFTER_S,
    ) -> None:
        """`languages` as Tesseract's `-l` takes it. `executable`, another program, and `stuck_after_s` are set in tests
        of faults only."""
        found = shutil.which(executable)
        if found is None:
            raise MissingDependency(f"{executable} is not on PATH: apt-get install tesseract-ocr")
        self._program = found
        self._num_processes = num_processes
        self._languages = languages
        self._page_cpu_s = page_cpu_s
        self._cage = cage
        self._stuck_after_s = stuck_after_s
        self._slots = asyncio.Semaphore(num_processes)
        self._running: set[asyncio.subprocess.Process] = set()
        self._is_closed = False

    @classmethod
    async def start(cls, num_processes: int, languages: str, page_cpu_s: float, cage: CageMode) -> TesseractEngine:
        """Make the engine. Raises `MissingDependency` if the program or a language is missing."""
        if missing := await asyncio.to_thread(missing_for_tesseract, languages):
            raise MissingDependency(f"the engine tesseract needs {missing}")
        return cls(num_processes, languages, page_cpu_s, cage)

    @property
    def window(self) -> int:
        return self._num_processes + 1

    async def recognize(
        self, page: PageImage, request: Request, let_go: Callable[[], None] = lambda: None
    ) -> Recognition:
        """Read the page's last view without its padding; `request` has nothing that applies here.

        Raises `PageRejected`: engine_timeout, engine_crash, unsupported_script; `EngineAway` where the program cannot
        be run, `QuireError` where the machine does not let it work.
        """
        async with self._slots:
            if self._is_closed:
                raise EngineAway("the engine is closed")
            pixels = content_of(page)
            dpi = round(page.dpi) or _DPI
            tsv = await or_in_a_fresh_process(lambda: self._read_twice(pixels, dpi), "Tesseract")
        return _recognition(parse_tsv(tsv), pixels.shape[1], pixels.shape[0])

    async def close(self) -> None:
        """Kill what runs. Safe to call twice."""
        self._is_closed = True
        for process in list(self._running):
            await _kill(process)

    async def _read_twice(self, pixels: Pixels, dpi: int) -> str:
        """A process that a signal ended may have been killed for lack of memory: the page gets a second process before
        it is blamed."""
        try:
            return await once_more(lambda: self._run(pixels, dpi), _Killed)
        except _Killed as exc:
            raise PageRejected("engine_crash", f"two tesseract processes were ended on this page: {exc}") from exc

    async def _run(self, pixels: Pixels, dpi: int) -> str:
        arguments = ["stdin", "stdout", "-l", self._languages, "--dpi", str(dpi), "tsv"]
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command(self._cage, self._program, arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment_of_tesseract(),
            )
        except OSError as exc:  # the machine has no room for a process
            raise self._not_run(exc) from exc
        self._running.add(process)
        try:
            if self._is_closed:  # while the process was being started
                raise EngineAway("the engine was closed")
            answer = process.communicate(_as_pnm(pixels))
            output, errors = await within_cpu(answer, process.pid, self._page_cpu_s, self._stuck_after_s)
        except OverLimit as exc:
            raise PageRejected("engine_timeout", str(exc)) from exc
        finally:
            await _kill(process)
            self._running.discard(process)
        if self._is_closed:
            raise EngineDead("the engine was closed")
        status = await process.wait()
        words = errors.decode(errors="replace").strip()[-300:]
        if status == program.REFUSED:
            check_cage(self._cage, (words,))
        if status == program.NOT_RUN:
            raise self._not_run(words)
        if status < 0:
            raise _Killed(f"signal {-status}: {words}")
        if status != 0:
            raise PageRejected("engine_crash", f"tesseract ended with status {status}: {words}")
        return output.decode(errors="replace")

    def _not_run(self, why: object) -> EngineAway:
        return EngineAway(f"{self._program} cannot be run: {why}")


def parse_tsv(tsv: str) -> list[Word]:
    """The words of Tesseract's TSV output, in its reading order."""
    words = []
    for row in csv.DictReader(tsv.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        text = (row["text"] or "").strip()
        if row["level"] != "5" or not text:
            continue
        left, top = float(row["left"]), float(row["top"])
        key = (int(row["block_num"]), int(row["par_num"]), int(row["line_num"]))
        right, bottom = left + float(row["width"]), top + float(row["height"])
        words.append(Word(key, Line(text, left, top, right, bottom, score=float(row["conf"]) / 100)))
    return words


def _recognition(words: Sequence[Word], width: int, height: int) -> Recognition:
    lines = [_join(list(group)) for _, group in groupby(words, key=lambda word: word.key)]
    scores = [min(1.0, max(1e-6, word.line.score)) for word in words]
    if scores and statistics.fmean(scores) < _MIN_CONFIDENCE:
        message = f"{len(scores)} words found with a mean confidence of {statistics.fmean(scores):.0%}"
        raise PageRejected("unsupported_script", message)
    return Recognition(
        text="\n".join(word.line.text for word in lines),
        mean_logprob=statistics.fmean(math.log(score) for score in scores) if scores else None,
        blocks=tuple(_blocks(lines, width, height)),
    )


def _join(words: Sequence[Word]) -> Word:
    box = bounds(word.line.box for word in words)
    return Word(words[0].key, Line(" ".join(word.line.text for word in words), *box))


def _blocks(lines: Sequence[Word], width: int, height: int) -> Iterator[Block]:
    """One block a paragraph, its lines joined, and words that were broken at a hyphen, too."""
    typical = statistics.median(word.line.height for word in lines) if lines else 0.0
    for _, group in groupby(lines, key=lambda word: word.key[:2]):
        paragraph = [word.line for word in group]
        text = paragraph[0].text
        for line in paragraph[1:]:
            text = join_text(text, line.text)
        is_big = statistics.median(line.height for line in paragraph) > _HEADING * typical
        label = "sub_title" if is_big and len(text) <= _MAX_HEADING_CHARS else "text"
        x0, y0, x1, y1 = bounds(line.box for line in paragraph)
        yield Block(label, text, (x0 / width, y0 / height, x1 / width, y1 / height))


def _as_pnm(pixels: Pixels) -> bytes:
    height, width = pixels.shape[:2]
    return f"P6 {width} {height} 255\n".encode() + pixels.tobytes()


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def start(settings: Settings, num_processes: int) -> TesseractEngine:
    """The engine `tesseract` of the settings."""
    return await TesseractEngine.start(
        num_processes,
        languages=settings.tesseract.languages,
        page_cpu_s=settings.engine.page_cpu_s,
        cage=settings.render.sandbox,
    )
