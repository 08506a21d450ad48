"""From settings to an engine: the one place that knows every engine by name.

Each engine's module is imported only when it is chosen, so that none of their packages is needed but one's.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

from quire.config.engines import EngineSettings
from quire.config.profiles import DEFAULT_PROFILES, PROFILES
from quire.config.settings import Settings, api_key
from quire.engines.base import EngineNeeds, LocalEngine
from quire.engines.cpu.tesseract_languages import missing_for_tesseract
from quire.engines.gpu.device import has_gpu
from quire.engines.held_image import HeldImage
from quire.errors import ConfigError, EngineAway, MissingDependency
from quire.processes.cores import num_cores
from quire.records import PageImage, Recognition, Request

_PACKAGES = {"rapidocr": ("rapidocr",), "vllm": ("vllm",), "http": ("openai",)}
_EXTRAS = {"rapidocr": "cpu", "vllm": "gpu", "http": "http"}


def ladder(settings: Settings) -> tuple[Request, ...]:
    """The attempts that a page may take, in order. Raises `ConfigError` for a rung that makes no sense."""
    return tuple(_request(rung, settings.engine) for rung in settings.engine.modes)


def _request(rung: str, engine: EngineSettings) -> Request:
    mode, at, words = rung.partition("@")
    try:
        temperature = float(words) if at else engine.temperature
    except ValueError:
        temperature = -1.0
    if not 0 <= temperature <= 2:
        raise ConfigError(f"engine.modes has {rung!r}: write mode or mode@temperature (0 to 2), like base@0.4")
    return Request(mode, engine.prompt, temperature, engine.max_output_tokens)


def needs(settings: Settings) -> EngineNeeds:
    """What one engine reserves on a cluster. One that computes on the CPU leaves a quarter of it to render."""
    if settings.engine.name == "scripted":
        return EngineNeeds(num_gpus=0, num_cpus=0.05, rasterizer_cpus=0.9)
    if settings.engine.name == "vllm" and settings.vllm.device == "cuda":
        num_gpus = 2 if settings.vllm.encoder_device.startswith("cuda") else 1
        return EngineNeeds(num_gpus=num_gpus, num_cpus=1, rasterizer_cpus=0.9)
    if settings.engine.name == "http":
        return EngineNeeds(num_gpus=0, num_cpus=0.5, rasterizer_cpus=0.5)  # the images are encoded here
    return EngineNeeds(num_gpus=0, num_cpus=0.75, rasterizer_cpus=0.25, shares_cpus=True)


def require(settings: Settings, runs_here: bool = True) -> None:
    """Raise `MissingDependency` if what the engine needs is not installed, before any work is done for it, and
    `ConfigError` if it is told to do what it cannot. Where it does not run on this machine, nothing is asked of the
    machine but the packages that all machines of a cluster have alike."""
    refuse_contradictions(settings)
    if missing := what_is_missing(settings) if runs_here else _missing_packages(settings):
        raise MissingDependency(f"the engine {settings.engine.name} needs {missing}")


def refuse_contradictions(settings: Settings) -> None:
    """Raise `ConfigError` if the engine is told to do what it cannot, wherever it is to run."""
    engine = settings.engine
    if engine.name in DEFAULT_PROFILES and not engine.model:
        raise ConfigError("say which model the server has: --set engine.model=NAME, or engine.profile")
    if engine.name == "vllm" and engine.profile in PROFILES and PROFILES[engine.profile].is_chat:
        raise ConfigError(
            f"{engine.profile} is a chat model: run `vllm serve {engine.model}` and read with --engine http"
        )


def what_is_missing(settings: Settings) -> str:
    """What the engine needs and has not on this machine, and how it gets it; empty if it can run."""
    if missing := _missing_packages(settings):
        return missing
    if settings.engine.name == "tesseract":
        return missing_for_tesseract(settings.tesseract.languages)
    if needs(settings).num_gpus and not has_gpu():
        return (
            "a GPU, and none is to be reached here (`quire doctor --engine vllm` says why); a CPU build of vLLM wants "
            "--set vllm.device=cpu"
        )
    return ""


def _missing_packages(settings: Settings) -> str:
    name = settings.engine.name
    packages = _PACKAGES.get(name, ())
    if name == "rapidocr":
        packages = (*packages, settings.rapidocr.backend)
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        extra = "openvino" if "openvino" in missing else _EXTRAS[name]
        return f"{' and '.join(missing)}: pip install 'quire-ocr[{extra}]'"
    return ""


def pinned(settings: Settings) -> Settings:
    """The settings with the revision of the model that will run, where it can be known: a server keeps its own
    to itself. May ask the hub, or read a folder's weights. Raises `ConfigError`, `MissingDependency`."""
    if settings.engine.name != "vllm":
        return settings
    from quire.engines.gpu.checkpoints import pin_revision

    revision = pin_revision(settings.engine.model, settings.engine.model_revision)
    return replace(settings, engine=replace(settings.engine, model_revision=revision))


def model_name(settings: Settings) -> str:
    """What the rows of a run name as their model."""
    match settings.engine.name:
        case "rapidocr":
            return f"PP-OCRv6-small ({settings.rapidocr.backend})"
        case "tesseract":
            return settings.tesseract.languages
        case "vllm" | "http":
            return settings.engine.model
        case _:
            return ""


async def make_engine(settings: Settings, num_processes: int | None = None) -> LocalEngine:
    """The engine that the settings name, once it is ready: loading a model takes a minute.

    `num_processes` overrides its number of CPU processes.
    """
    match settings.engine.name:
        case "rapidocr":
            from quire.engines.cpu.rapidocr_engine import RapidOcrEngine

            return RapidOcrEngine(
                num_processes=num_processes or settings.rapidocr.num_processes or num_cores(),
                backend=settings.rapidocr.backend,
                page_cpu_s=settings.engine.page_cpu_s,
                cage=settings.render.sandbox,
            )
        case "tesseract":
            from quire.engines.cpu.tesseract_engine import TesseractEngine

            return await TesseractEngine.start(
                num_processes=num_processes or settings.tesseract.num_processes or num_cores(),
                languages=settings.tesseract.languages,
                page_cpu_s=settings.engine.page_cpu_s,
                cage=settings.render.sandbox,
            )
        case "scripted":
            from quire.engines.scripted_engine import ScriptedEngine

            return ScriptedEngine(settings.scripted, ladder(settings)[0].mode)
        case "http":
            from quire.engines.http_engine import HttpEngine

            return await HttpEngine.start(settings.engine, settings.http, api_key(settings.http))
        case "vllm":
            from quire.engines.gpu.checkpoints import local_checkpoint

            # Before vLLM is imported, which takes ten seconds: a model that is not there is told at once.
            model, revision = settings.engine.model, settings.engine.model_revision
            checkpoint = await asyncio.to_thread(local_checkpoint, model, revision)
            _set_environment()
            from quire.engines.gpu.engine import VllmEngine

            return await VllmEngine.start(settings, checkpoint)


def _set_environment() -> None:
    """vLLM reads its environment when it is imported, and its processes inherit it."""
    from quire.engines.gpu.arguments import ENVIRONMENT

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class LocalHost:
    """An `EngineHost` in this process: a dead engine is closed and made anew."""

    def __init__(self, make: Callable[[], Awaitable[LocalEngine]]) -> None:
        self._make = make
        self._engine: LocalEngine | None = None

    @property
    def window(self) -> int:
        return self._engine.window if self._engine else 1

    async def start(self) -> None:
        await self.stop()
        self._engine = await self._make()

    async def recognize(self, page: HeldImage[PageImage], request: Request) -> Recognition:
        await page.get()  # which may take long if it was let go, and the engine may go meanwhile
        if self._engine is None:
            raise EngineAway("the engine is not running")
        # No name for the image here: the engine has the only reference, so that its letting go frees the pixels.
        return await self._engine.recognize(await page.get(), request, page.let_go)

    async def stop(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()
