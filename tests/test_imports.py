"""Imports go one way, and each library that is hard to test or to replace is imported in one place.

Reads the source, lazy imports included; nothing is imported here.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.modules import modules

_ROOT = Path(__file__).resolve().parents[1]

# From the ground up. What stands in a line imports only from lines above its own, a package also from itself.
_LAYERS = (
    ("quire.quantities", "quire.records", "quire.secrets", "quire.versions", "quire.page_layout."),
    ("quire.errors",),
    ("quire.processes.",),
    ("quire.config.",),
    ("quire.parse.", "quire.storage."),
    ("quire.rasterize.", "quire.tables."),
    ("quire.deepseek_vllm.", "quire.planning."),
    ("quire.engines.",),
    ("quire.conversion.", "quire.results."),
    ("quire.estimate.", "quire.meters.", "quire.nights."),
    ("quire.budget.", "quire.flows.", "quire.report."),
    ("quire.run.",),
    ("quire.api.",),
    ("quire",),  # names what is in `api`
    ("quire.jobs.",),
)

# Where in `pipeline` a library may be imported. Jobs may import what they like but Ray.
_OWNERS = {
    # The second speaks HTTP to a cluster that it never joins.
    "ray": ("quire.flows.on_ray.", "quire.flows.ray_jobs"),
    "pymupdf": ("quire.rasterize.mupdf",),
    "fitz": (),
    "pypdfium2": ("quire.rasterize.pdfium.",),
    "pillow_heif": ("quire.rasterize.images",),
    "obstore": ("quire.storage.",),
    "boto3": ("quire.storage.",),
    "botocore": ("quire.storage.",),
    "rapidocr": ("quire.engines.cpu.",),
    "onnxruntime": ("quire.engines.cpu.",),
    "openvino": ("quire.engines.cpu.",),
    "cv2": ("quire.engines.cpu.",),
    "vllm": ("quire.engines.gpu.process", "quire.deepseek_vllm."),
    "torch": ("quire.engines.gpu.", "quire.deepseek_vllm."),
    "safetensors": ("quire.deepseek_vllm.", "quire.engines.gpu.latents"),
    "huggingface_hub": ("quire.engines.gpu.checkpoints",),
    "openai": ("quire.engines.http_engine",),
    "pydantic": ("quire.config.settings_file",),
    "py3langid": ("quire.results.assemble",),
    "tqdm": ("quire.meters.progress",),
    "jinja2": ("quire.report.page",),
    "matplotlib": ("quire.report.figures",),
    "prometheus_client": ("quire.meters.metrics_port",),
    "click": (),
}

_modules = cache(modules)


@cache
def _imports(module: str) -> frozenset[str]:
    """What a module imports anywhere in its file, as dotted names; modules of ours in full."""
    return frozenset(_walk(ast.parse(_modules()[module].read_text(encoding="utf-8"))))


def _walk(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute here"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in _modules() else node.module for name in full)


def _imports_of_ours(module: str) -> set[str]:
    return {name for name in _imports(module) if name in _modules()} - {module}


def _is_in(module: str, place: str) -> bool:
    """Whether a module is the place, or inside it where the place is a package."""
    return module == place.removesuffix(".") or (place.endswith(".") and module.startswith(place))


def _place(module: str) -> tuple[int, str]:
    """The layer of a module (0 is the lowest) and the name or package in the table that puts it there."""
    for number, places in enumerate(_LAYERS):
        for place in places:
            if _is_in(module, place):
                return number, place
    pytest.fail(f"{module} is in no layer: add it to the table in {Path(__file__).name}")


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_below(module: str) -> None:
    layer, package = _place(module)
    for imported in _imports_of_ours(module):
        other_layer, other_package = _place(imported)
        is_same_package = package.endswith(".") and package == other_package
        assert other_layer < layer or is_same_package, f"{module} must not import {imported}"


def test_nothing_imports_the_benchmarks() -> None:
    bench = "quire.jobs.bench"
    assert not [
        module
        for module in _modules()
        if not module.startswith(bench) and any(name.startswith(bench) for name in _imports(module))
    ]


def test_no_module_imports_itself_in_a_circle() -> None:
    graphlib.TopologicalSorter({module: _imports_of_ours(module) for module in _modules()}).prepare()


def test_every_name_in_the_table_exists() -> None:
    names = {name.removesuffix(".") for names in _LAYERS for name in names}
    assert names <= set(_modules())


def test_the_lowest_record_knows_nothing_of_the_pipeline() -> None:
    assert not _imports_of_ours("quire.records")


@pytest.mark.parametrize("library", _OWNERS)
def test_a_library_is_imported_only_by_its_owner(library: str) -> None:
    importers = {
        module
        for module in _modules()
        if (library == "ray" or not module.startswith("quire.jobs"))
        and any(name.split(".")[0] == library for name in _imports(module))
    }
    strays = {module for module in importers if not any(_is_in(module, owner) for owner in _OWNERS[library])}
    assert not strays


@pytest.mark.parametrize("module", _modules())
def test_no_function_rebinds_a_global(module: str) -> None:
    tree = ast.parse(_modules()[module].read_text(encoding="utf-8"))
    assert not [node.names for node in ast.walk(tree) if isinstance(node, ast.Global)]


_ONLY_SLOW_TESTS_HAVE = {"torch", "vllm", "safetensors", "tokenizers", "transformers"}


def _imports_at_once(path: Path) -> Iterator[str]:
    """What a file imports as it is imported itself: not in its functions, nor for type checks alone."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _file_of(module: str) -> Path | None:
    if module in _modules():
        return _modules()[module]
    path = _ROOT.joinpath(*module.split("."))
    found = (each for each in (path.with_suffix(".py"), path / "__init__.py") if each.exists())
    return next(found, None)


def test_quick_tests_are_collected_without_torch_and_vllm() -> None:
    """`make fast` does not install them."""
    slow = _ROOT / "tests" / "slow"
    left = [path for path in (_ROOT / "tests").rglob("*.py") if path.name.startswith(("test_", "conftest"))]
    left = [path for path in left if slow not in path.parents]
    seen = set(left)
    assert len(seen) > 50
    while left:
        importing = left.pop()
        for module in _imports_at_once(importing):
            assert module.split(".")[0] not in _ONLY_SLOW_TESTS_HAVE, f"{importing} imports {module}"
            if (path := _file_of(module)) is not None and path not in seen:
                seen.add(path)
                left.append(path)
