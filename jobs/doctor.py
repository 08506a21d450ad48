"""`quire doctor`: does what an engine needs work here, and if not, what to do about it.

Checks go from the lowest layer up, and end at the first that fails. The last one reads a page that is drawn here,
through the same rasterizer and engine that a run uses.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from quire.config.extras import GPU, install
from quire.config.settings import Settings
from quire.engines.base import LocalEngine
from quire.engines.choose import kind_of, make_engine, needs
from quire.engines.ladder import ladder
from quire.errors import ConfigError, GuardNotApplied, MissingDependency, PageError, QuireError
from quire.flows.requirements import require
from quire.jobs.ending import run
from quire.jobs.exit_codes import EXIT_ERROR
from quire.jobs.options import settings_from, settings_options
from quire.rasterize.held_image import why_no_image
from quire.rasterize.known_page import rasterize_known_page
from quire.rasterize.sandbox import Sandbox
from quire.versions import installed


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `advice` says what to do if it failed."""

    name: str
    is_well: bool
    words: str
    advice: str = ""


@click.command("doctor")
@settings_options
@click.pass_context
def doctor_command(context: click.Context, /, **options: Any) -> None:
    """Check what the engine needs (for vllm the driver, CUDA, PyTorch, its plug-in and the repetition guard), the cage
    of what reads documents and the model, then read one page.

    The engine is the one that `quire convert` has with the same options. Exits with 0 if all is well, 1 if not.
    """
    settings = settings_from(**options)
    if not run(_examine(settings)):
        context.exit(EXIT_ERROR)


async def _examine(settings: Settings) -> bool:
    """Print findings as they come, up to the first that is not well."""
    for check in _checks(settings):
        if not _print(check(settings)):
            return False
    if not _print(await check_cage(settings)):
        return False
    async for finding in _try_engine(settings):
        if not _print(finding):
            return False
    return True


def _print(finding: Finding) -> bool:
    mark = "ok   " if finding.is_well else "WRONG"
    click.echo(f"{mark}  {finding.name:<12}{finding.words}")
    if not finding.is_well:
        click.echo(f"       what to do: {finding.advice}")
    return finding.is_well


def _checks(settings: Settings) -> Iterator[Callable[[Settings], Finding]]:
    """The checks that need no engine."""
    if needs(settings).num_gpus:
        yield check_driver
    yield check_packages
    if _is_vllm(settings):
        yield check_torch
        yield check_plugin


def _is_vllm(settings: Settings) -> bool:
    return kind_of(settings).extra(settings) == GPU


_DRIVER_ADVICE = "the driver is there and does not work: reboot, or install it again"


def check_driver(_: Settings) -> Finding:
    """Asks NVIDIA's own tool, which comes with the driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding(
            "driver",
            False,
            "there is no GPU here, or no driver for it: nvidia-smi is not found",
            "install NVIDIA's driver, or give the container its GPUs (docker run --gpus all). Without a GPU, "
            "try the default engine, quire doctor, or a CPU build of vLLM with --set vllm.device=cpu",
        )
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Finding("driver", False, f"nvidia-smi does not answer: {exc}", _DRIVER_ADVICE)
    if answer.returncode or not answer.stdout.strip():
        words = (answer.stdout + answer.stderr).strip().splitlines()
        return Finding("driver", False, f"nvidia-smi says: {words[0] if words else 'nothing'}", _DRIVER_ADVICE)
    return Finding("driver", True, "; ".join(answer.stdout.strip().splitlines()))


def check_packages(settings: Settings) -> Finding:
    """What the engine needs is installed, and its settings fit together."""
    try:
        require(settings, runs_here=not needs(settings).num_gpus)  # a GPU has a check of its own
    except ConfigError as exc:
        return Finding(
            "settings", False, str(exc), "give the setting that the message names, with --set or --config"
        )
    except MissingDependency as exc:
        return Finding(
            "packages", False, str(exc), "install what the message names into this environment, then try again"
        )
    extra = kind_of(settings).extra(settings)
    modules = extra.modules if extra else ()
    found = [f"{name} {version}" for name, version in installed().items() if name.removesuffix("-cpu") in modules]
    return Finding("packages", True, ", ".join(found) or "all there")


def check_torch(settings: Settings) -> Finding:
    """PyTorch, and that it reaches the GPU through CUDA."""
    import torch

    words = (
        f"PyTorch {torch.__version__}, built for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPUs'}"
    )
    if settings.vllm.device == "cpu":
        return Finding("torch", True, f"{words}; no GPU is asked for")
    if torch.version.cuda is None:
        return Finding("torch", False, words, f"install PyTorch and vLLM for CUDA: {install([GPU])}")
    if not torch.cuda.is_available():
        return Finding(
            "torch",
            False,
            f"{words}, does not reach the GPU",
            f"the driver is too old for CUDA {torch.version.cuda} (nvidia-smi shows which it knows): update it, or "
            "install a vLLM for an older CUDA; and see that CUDA_VISIBLE_DEVICES is not empty",
        )
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Finding("torch", True, f"{words}; {', '.join(names)}")


def check_plugin(_: Settings) -> Finding:
    """vLLM finds our model class by an entry point of this package."""
    names = [point.name for point in importlib.metadata.entry_points(group="vllm.general_plugins")]
    allowed = os.environ.get("VLLM_PLUGINS")
    if "quire" not in names:
        advice = "Quire runs from a folder and is not installed: pip install . in that folder"
        return Finding("plug-in", False, "vLLM would not find Quire's model class", advice)
    if allowed is not None and "quire" not in allowed.split(","):
        advice = f"add quire to the variable, or unset it: VLLM_PLUGINS={allowed},quire"
        return Finding("plug-in", False, "the variable VLLM_PLUGINS leaves Quire's model class out", advice)
    return Finding("plug-in", True, "registered: DeepSeek-OCR runs in Quire's own model class")


async def check_cage(settings: Settings) -> Finding:
    """The limits on a process that reads documents, in case a document takes it over."""
    if settings.render.sandbox == "off":
        return Finding("cage", True, "off, as the settings say: see SECURITY.md")
    try:
        async with Sandbox(settings.render, (), num_workers=1) as sandbox:
            missing = await sandbox.missing_of_cage()
    except QuireError as exc:
        return Finding("cage", False, str(exc), "see the message above")
    if missing:
        return Finding("cage", True, f"in part, see SECURITY.md: {'; '.join(missing)}")
    return Finding("cage", True, "whole: no network, no files, no other processes for what reads documents")


async def _try_engine(settings: Settings) -> AsyncIterator[Finding]:
    """Start the engine and let it read."""
    started = time.monotonic()
    try:
        engine = await make_engine(settings)
    except GuardNotApplied as exc:
        yield Finding("guard", False, str(exc), "install a version of vLLM that pyproject.toml names")
        return
    except QuireError as exc:
        yield Finding("model", False, str(exc), _model_advice(settings))
        return
    name = settings.engine.model or settings.engine.name
    yield Finding("model", True, f"{name} is ready after {time.monotonic() - started:.0f} s")
    if _is_vllm(settings):
        acts = (
            "bans repeated n-grams at temperature 0"
            if settings.engine.ngram_size
            else "is off, as the settings say"
        )
        yield Finding("guard", True, acts)
    try:
        yield await _read_page(engine, settings)
    finally:
        await engine.close()


def _model_advice(settings: Settings) -> str:
    if not _is_vllm(settings):
        return "see the message above"
    return (
        "name the model with --set engine.model=FOLDER or a name on the hub (behind a proxy or offline: fetch it "
        "before); if memory is short, lower vllm.memory_share or vllm.max_num_seqs"
    )


async def _read_page(engine: LocalEngine, settings: Settings) -> Finding:
    request = ladder(settings.engine)[0]
    started = time.monotonic()
    try:
        page, image = await rasterize_known_page(settings.render, request.mode)
        if image is None:
            raise PageError(why_no_image(page).message)
        answer = await engine.recognize(await image.get(), request)
    except PageError as exc:
        return Finding("page", False, f"one page could not be read: {exc}", "run again with -vv and report it")
    text = " ".join((answer.text or " ".join(block.text for block in answer.blocks or ())).split())
    seconds = time.monotonic() - started
    return Finding("page", True, f"read at mode {request.mode} in {seconds:.1f} s: {text[:60]!r}")
