"""`quire doctor` with the real vLLM on a CPU: a page that it reads, a model that is not there, a plug-in left out."""

from __future__ import annotations

from pathlib import Path

from tests.jobs.test_doctor import advice
from tests.rigs.vllm_engines import vllm_overrides
from tests.rigs.vllm_environment import ENVIRONMENT
from tests.runs import quire, set_options


def test_it_reads_a_page_with_vllm(tmp_path: Path, small_checkpoint: Path) -> None:
    """Everything but the GPU: plug-in, guard, model, page; the tower outside of vLLM, which loads the decoder alone."""
    options = set_options(tuple(vllm_overrides(small_checkpoint, "vllm.encoder_device=cpu")))
    shown = quire("doctor", *options, **ENVIRONMENT)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    well = [line.split()[1] for line in shown.stdout.splitlines() if line.startswith("ok")]
    assert well == ["packages", "torch", "plug-in", "model", "guard", "page"]


def test_a_model_that_is_not_there_is_named() -> None:
    """Before vLLM is imported, which would take most of the time."""
    options = set_options(tuple(vllm_overrides(Path("/nowhere/at/all"))))
    shown = quire("doctor", *options, **ENVIRONMENT)
    assert shown.returncode == 1
    assert "/nowhere/at/all" in shown.stdout and "engine.model" in advice(shown.stdout)


def test_a_plug_in_that_is_left_out_is_named() -> None:
    shown = quire("doctor", "--set", "vllm.device=cpu", **ENVIRONMENT, VLLM_PLUGINS="other")
    assert shown.returncode == 1
    assert "VLLM_PLUGINS=other,quire" in advice(shown.stdout)
