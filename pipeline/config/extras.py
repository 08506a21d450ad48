"""The optional parts of this distribution, whether they are installed, and the command that installs them.

`pyproject.toml` says which packages an extra brings. Does not know which run needs which extra.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

DISTRIBUTION = "quire-ocr"


@dataclass(frozen=True, slots=True)
class Extra:
    """`modules`: the import names of its packages, as far as Quire imports them."""

    name: str
    modules: tuple[str, ...]

    def missing(self) -> tuple[str, ...]:
        """Its modules that are not installed. Does not import them, because that would take seconds."""
        return tuple(module for module in self.modules if importlib.util.find_spec(module) is None)


MUPDF = Extra("mupdf", ("pymupdf",))
RAY = Extra("ray", ("ray", "psutil"))
REPORT = Extra("report", ("jinja2", "matplotlib"))
METRICS_PORT = Extra("metrics", ("prometheus_client",))
CPU = Extra("cpu", ("rapidocr", "onnxruntime", "cv2"))
OPENVINO = Extra("openvino", ("rapidocr", "openvino", "cv2"))
HTTP = Extra("http", ("openai",))
GPU = Extra("gpu", ("vllm",))


def install(extras: Iterable[Extra]) -> str:
    """The command that installs them all."""
    names = dict.fromkeys(extra.name for extra in extras)
    return f"pip install '{DISTRIBUTION}[{','.join(names)}]'"


def in_words(names: Iterable[str]) -> str:
    """Like "a, b and c"."""
    *firsts, last = names
    return f"{', '.join(firsts)} and {last}" if firsts else last
