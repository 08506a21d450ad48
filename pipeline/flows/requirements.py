"""What a run needs of this machine, reported in one message before any work; and the default renderer.

What an engine needs is in `config/engines.py`, what an extra brings in `config/extras.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from quire.config.extras import METRICS_PORT, MUPDF, RAY, Extra, in_words, install
from quire.config.settings import Settings
from quire.engines.choose import kind_of, lacks, refuse_contradictions
from quire.errors import MissingDependency, NotFound
from quire.results.run_folder import read
from quire.storage import Folder


def require(settings: Settings, runs_here: bool = True, on_ray: bool = False) -> None:
    """Raise `MissingDependency`, which names in one line all that this run lacks and one command that installs it, or
    `ConfigError` if the engine cannot do what the settings ask. If the engine does not run here, only the packages that
    all machines of a cluster share are checked."""
    refuse_contradictions(settings)
    kind = kind_of(settings)
    missing = {extra: purpose for extra, purpose in _wanted(settings, on_ray).items() if extra.missing()}
    words = [f"{in_words(extra.missing())} ({purpose})" for extra, purpose in missing.items()]
    sentences = [f"this run needs {', '.join(words)}: {install(missing)}"] if missing else []
    if runs_here and (missing_here := lacks(settings)):
        sentences.append(f"the engine {kind.name} needs {missing_here}")
    if sentences:
        raise MissingDependency("; and ".join(sentences))


def missing_for_engine(settings: Settings) -> str:
    """What the engine lacks on this machine, and how to install it; empty if it can run."""
    kind = kind_of(settings)
    extra = kind.extra(settings)
    packages = f"{in_words(extra.missing())}: {install([extra])}" if extra and extra.missing() else ""
    return "; and ".join(filter(None, (packages, lacks(settings))))


def with_renderer(settings: Settings, folder: Folder, tell: Callable[[str], object]) -> Settings:
    """The settings, with a renderer if they leave it open: the one that the folder was begun with, or for a new folder
    MuPDF if it is installed. If it is not, `tell` is called."""
    if settings.render.renderer is not None:
        return settings
    try:
        renderer = read(folder)["settings"]["render.renderer"]
    except NotFound:
        renderer = "pdfium" if MUPDF.missing() else "mupdf"
        if renderer == "pdfium":
            tell(
                "PyMuPDF is not installed: pdfium renders the pages of this output folder, now and later (MuPDF, AGPL, "
                f"would need {install([MUPDF])} and another --output)"
            )
    return replace(settings, render=replace(settings.render, renderer=renderer))


def _wanted(settings: Settings, on_ray: bool) -> Mapping[Extra, str]:
    """The extras of a run, and what each is for."""
    kind, wanted = kind_of(settings), {}
    if extra := kind.extra(settings):
        wanted[extra] = f"the engine {kind.name}"
    if settings.render.renderer == "mupdf":
        wanted[MUPDF] = "the renderer mupdf; a new output folder can do without: --renderer pdfium"
    if on_ray:  # which brings what serves metrics, too
        wanted[RAY] = "--ray"
    elif settings.metrics.port:
        wanted[METRICS_PORT] = "--metrics-port"
    return wanted
