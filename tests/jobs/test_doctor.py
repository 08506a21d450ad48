"""`quire doctor` in a process of its own, where things are well and where they are not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.runs import quire, set_options


def advice(output: str) -> str:
    """What to do about the one thing that is wrong."""
    assert output.count("WRONG") == output.count("what to do:") == 1
    assert output.splitlines()[-1].lstrip().startswith("what to do:")
    return output.split("what to do:")[1]


@pytest.fixture
def no_tools(tmp_path: Path) -> str:
    """A PATH with nothing on it."""
    (tmp_path / "bin").mkdir()
    return str(tmp_path / "bin")


def test_without_a_gpu_it_says_so_and_what_else_there_is(no_tools: str) -> None:
    shown = quire("doctor", "--engine", "vllm", PATH=no_tools)
    assert shown.returncode == 1, shown.stderr
    assert "no GPU" in shown.stdout
    assert "--gpus all" in advice(shown.stdout) and "try the default engine" in shown.stdout


def test_a_driver_that_does_not_work_is_quoted(no_tools: str) -> None:
    tool = Path(no_tools) / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\nprint('NVIDIA-SMI has failed: no driver'); raise SystemExit(9)\n")
    tool.chmod(0o755)
    shown = quire("doctor", "--engine", "vllm", PATH=no_tools)
    assert shown.returncode == 1
    assert "no driver" in shown.stdout and "reboot" in advice(shown.stdout)


def test_a_driver_that_cannot_be_asked_is_a_finding(no_tools: str) -> None:
    tool = Path(no_tools) / "nvidia-smi"
    tool.write_bytes(b"\x7fELF and nothing else")
    tool.chmod(0o755)
    shown = quire("doctor", "--engine", "vllm", PATH=no_tools)
    assert shown.returncode == 1 and "Traceback" not in shown.stderr
    assert "does not answer" in shown.stdout and "reboot" in advice(shown.stdout)


def test_without_vllm_it_says_what_to_install(tmp_path: Path) -> None:
    """A finder that hides vLLM stands in for an environment without it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'vllm' else find(name, *rest)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), os.getcwd()])
    shown = quire("doctor", *set_options(("engine.name=vllm", "vllm.device=cpu")), PYTHONPATH=path)
    assert shown.returncode == 1, shown.stderr
    assert "needs vllm" in shown.stdout and "quire-ocr[gpu]" in shown.stdout
    assert "install" in advice(shown.stdout)


@pytest.mark.parametrize(
    ("options", "words", "remedy"),
    [
        (["engine.name=http"], "settings    say which model the server has", "give the setting"),
        (["engine.name=tesseract", "tesseract.languages=klingon"], "needs data for 'klingon'", "install"),
    ],
)
def test_what_is_wrong_decides_what_to_do(options: list[str], words: str, remedy: str) -> None:
    shown = quire("doctor", *set_options(tuple(options)))
    assert shown.returncode == 1, shown.stderr
    assert words in shown.stdout and remedy in advice(shown.stdout)


def test_it_reads_a_page_with_the_engine_of_convert() -> None:
    shown = quire("doctor")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "cage        whole" in shown.stdout and "rapidocr is ready" in shown.stdout
    assert "Quire reads this page" in shown.stdout


@pytest.mark.parametrize(("mode", "exit_code"), [("best", 0), ("require", 1), ("off", 0)])
def test_it_says_what_the_cage_lacks(tmp_path: Path, mode: str, exit_code: int) -> None:
    """As on a machine without libseccomp."""
    (tmp_path / "libseccomp.so.2").touch()
    options = ("--engine", "scripted", "--set", f"render.sandbox={mode}")
    shown = quire("doctor", *options, LD_LIBRARY_PATH=str(tmp_path))
    assert shown.returncode == exit_code, shown.stdout + shown.stderr
    assert ("off, as the settings say" if mode == "off" else "no seccomp filter") in shown.stdout
    if mode == "require":
        assert "render.sandbox=best" in shown.stdout and advice(shown.stdout)
