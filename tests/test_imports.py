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

_ROOT = Path(__file__).resolve().parents[1]

# From the ground up. A module imports only from layers above its own line here, or from its own package where
# the layer is a package (marked by a dot at the end). What is longest decides: `pipeline.engines.base` is a
# contract, the rest of `pipeline.engines.` are engines.
_LAYERS = {
    "secrets": ("pipeline.secrets",),
    "words": (
        "pipeline",
        "pipeline.errors",
        "pipeline.records",
        "pipeline.naming",
        "pipeline.progress",
        "pipeline.versions",
        "pipeline.engines.profiles",
        "pipeline.bottleneck",
        "pipeline.background",
        "pipeline.cores",
        "pipeline.cage.",
    ),
    "images": ("pipeline.held_image", "pipeline.metrics", "pipeline.child_process_main", "pipeline.cpu_limit"),
    "contracts": (
        "pipeline.config",
        "pipeline.modes",
        "pipeline.child_process",
        "pipeline.admission",
        "pipeline.engines.base",
        "pipeline.rasterize.base",
    ),
    "settings": ("pipeline.settings_file",),
    "storage": ("pipeline.storage.",),
    "cache": ("pipeline.eviction",),
    "sources": ("pipeline.fetch", "pipeline.latents", "pipeline.metrics_port"),
    "fetches": ("pipeline.fetcher",),
    "texts": ("pipeline.parse.", "pipeline.assemble", "pipeline.text_layer", "pipeline.doubts"),
    "columns": ("pipeline.schema",),
    "tables": ("pipeline.tables",),
    "log": ("pipeline.plan_log",),
    "index": ("pipeline.plan_index",),
    "model": ("pipeline.deepseek_vllm.",),
    "pixels": ("pipeline.rasterize.", "pipeline.engines."),
    "stages": (
        "pipeline.discover.",
        "pipeline.document_budget",
        "pipeline.probe",
        "pipeline.prices",
        "pipeline.recognize",
        "pipeline.usage",
        "pipeline.write",
    ),
    "runs": (
        "pipeline.account",
        "pipeline.estimate.",
        "pipeline.plan",
        "pipeline.run_folder",
        "pipeline.convert",
        "pipeline.flow_meter",
    ),
    "ends": ("pipeline.canary", "pipeline.finish"),
    "nights": ("pipeline.nights.",),
    "flow": ("pipeline.gate", "pipeline.local_flow"),
    "cluster": ("pipeline.ray_flow.", "pipeline.ray_jobs"),
    "reports": ("pipeline.report.",),
    "commands": ("jobs.",),
}
_ORDER = list(_LAYERS)

# Where in `pipeline` a library may be imported. Jobs may import what they like but Ray.
_OWNERS = {
    # The second speaks HTTP to a cluster that it never joins.
    "ray": ("pipeline.ray_flow.", "pipeline.ray_jobs"),
    "pymupdf": ("pipeline.rasterize.mupdf",),
    "fitz": (),
    "pypdfium2": ("pipeline.rasterize.pdfium.",),
    "pillow_heif": ("pipeline.rasterize.images",),
    "obstore": ("pipeline.storage.",),
    "boto3": ("pipeline.storage.",),
    "botocore": ("pipeline.storage.",),
    "rapidocr": ("pipeline.engines.",),
    "onnxruntime": ("pipeline.engines.",),
    "openvino": ("pipeline.engines.",),
    "cv2": ("pipeline.engines.",),
    "vllm": ("pipeline.engines.vllm_process", "pipeline.deepseek_vllm."),
    "torch": ("pipeline.engines.", "pipeline.deepseek_vllm.", "pipeline.latents"),
    "safetensors": ("pipeline.deepseek_vllm.", "pipeline.latents"),
    "huggingface_hub": ("pipeline.engines.checkpoints",),
    "openai": ("pipeline.engines.http_engine",),
    "pydantic": ("pipeline.settings_file",),
    "py3langid": ("pipeline.assemble",),
    "tqdm": ("pipeline.progress",),
    "jinja2": ("pipeline.report.page",),
    "matplotlib": ("pipeline.report.figures",),
    "prometheus_client": ("pipeline.metrics_port",),
    "click": (),
}


@cache
def _modules() -> dict[str, Path]:
    """Every module's dotted name → its file."""
    paths = [path for package in ("pipeline", "jobs") for path in (_ROOT / package).rglob("*.py")]
    return {_dotted(path): path for path in sorted(paths)}


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")


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
    fitting = [(name, layer) for layer, names in _LAYERS.items() for name in names if _is_in(module, name)]
    if not fitting:
        pytest.fail(f"{module} is in no layer: add it to the table in {Path(__file__).name}")
    name, layer = max(fitting, key=lambda item: len(item[0]))
    return _ORDER.index(layer), name


@pytest.mark.parametrize("module", _modules())
def test_a_module_imports_only_from_below(module: str) -> None:
    layer, package = _place(module)
    for imported in _imports_of_ours(module):
        other_layer, other_package = _place(imported)
        is_same_package = package.endswith(".") and package == other_package
        assert other_layer < layer or is_same_package, (
            f"{module} ({_ORDER[layer]}) must not import {imported} ({_ORDER[other_layer]})"
        )


def test_no_module_imports_itself_in_a_circle() -> None:
    graphlib.TopologicalSorter({module: _imports_of_ours(module) for module in _modules()}).prepare()


def test_every_name_in_the_table_exists() -> None:
    names = {name.removesuffix(".") for names in _LAYERS.values() for name in names}
    assert names <= set(_modules()) | {"jobs"}


def test_the_lowest_record_knows_nothing_of_the_pipeline() -> None:
    assert not _imports_of_ours("pipeline.records")


@pytest.mark.parametrize("library", _OWNERS)
def test_a_library_is_imported_only_by_its_owner(library: str) -> None:
    scope = "" if library == "ray" else "pipeline"
    importers = {
        module
        for module in _modules()
        if module.startswith(scope) and any(name.split(".")[0] == library for name in _imports(module))
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
