"""The engines that are compared: ours, and what a person would run instead. Each reads a page to text."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from PIL import Image

from quire.engines.base import LocalEngine
from quire.engines.cpu.rapidocr_engine import RapidOcrEngine
from quire.engines.cpu.tesseract_engine import TesseractEngine
from quire.records import PageImage, Pixels, Request


class Contender(Protocol):
    @property
    def name(self) -> str: ...

    async def read(self, pixels: Pixels) -> str: ...

    async def close(self) -> None: ...


def contenders() -> list[Contender]:
    """Those that are installed here."""
    return list(_installed())


def _installed() -> Iterator[Contender]:
    yield OurEngine("rapidocr", RapidOcrEngine(1))
    if importlib.util.find_spec("openvino"):
        yield OurEngine("rapidocr + openvino", RapidOcrEngine(1, "openvino"))
    if shutil.which("tesseract"):
        yield OurEngine("tesseract", TesseractEngine(1))
        yield Program("tesseract, plain", ("tesseract", "{page}", "{out}", "--dpi", "150"))
    if shutil.which("ocrmypdf"):
        options = ("--image-dpi", "150", "--output-type", "pdf", "--jobs", "1", "--sidecar", "{out}.txt")
        yield Program("ocrmypdf", ("ocrmypdf", *options, "{page}", "{out}.pdf"))


class OurEngine:
    def __init__(self, name: str, engine: LocalEngine) -> None:
        self.name = name
        self._engine = engine

    async def read(self, pixels: Pixels) -> str:
        recognition = await self._engine.recognize(as_page(pixels), Request("native"))
        return "\n\n".join(block.text for block in recognition.blocks or ())

    async def close(self) -> None:
        await self._engine.close()


class Program:
    """A program that reads a PNG and writes a text file; the PNG is part of its price."""

    def __init__(self, name: str, command: tuple[str, ...]) -> None:
        self.name = name
        self._command = command

    async def read(self, pixels: Pixels) -> str:
        with tempfile.TemporaryDirectory() as folder:
            page, out = Path(folder, "page.png"), Path(folder, "out")
            Image.fromarray(pixels).save(page, dpi=(150, 150))
            command = [part.format(page=page, out=out) for part in self._command]
            process = await asyncio.create_subprocess_exec(
                *command,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            )
            await process.wait()
            text = out.with_suffix(".txt")
            return text.read_text() if text.exists() else ""

    async def close(self) -> None:
        return None


def as_page(pixels: Pixels) -> PageImage:
    """A page image of one view at 150 dpi."""
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return PageImage("bench", 0, "native", width, height, 0, 0, 0, 150.0, digest, (pixels,))
