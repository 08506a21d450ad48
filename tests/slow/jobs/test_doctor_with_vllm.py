"""`quire doctor` with the real vLLM on a CPU: a page that it reads, a model that is not there, a plug-in left out.

In this process, where vLLM is imported once for many tests; in one of its own, `tests/jobs/test_doctor.py` runs it.
"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from quire.jobs.doctor import doctor_command
from tests.jobs.test_doctor import advice
from tests.rigs.vllm_engines import vllm_overrides
from tests.rigs.vllm_environment import vllm_environment
from tests.runs import set_options


def doctor(*arguments: str, **variables: str) -> Result:
    with vllm_environment():
        return CliRunner().invoke(doctor_command, arguments, env=variables)


def test_it_reads_a_page_with_vllm(tmp_path: Path, small_checkpoint: Path) -> None:
    """Everything but the GPU: plug-in, guard, model, page; the tower outside of vLLM, which loads the decoder alone."""
    options = set_options(tuple(vllm_overrides(small_checkpoint, "vllm.encoder_device=cpu")))
    shown = doctor(*options)
    assert shown.exit_code == 0, shown.output
    well = [line.split()[1] for line in shown.stdout.splitlines() if line.startswith("ok")]
    assert well == ["packages", "torch", "plug-in", "cage", "model", "guard", "page"]


def test_a_model_that_is_not_there_is_named() -> None:
    """Before vLLM is imported, which would take most of the time."""
    options = set_options(tuple(vllm_overrides(Path("/nowhere/at/all"))))
    shown = doctor(*options)
    assert shown.exit_code == 1
    assert "/nowhere/at/all" in shown.stdout and "engine.model" in advice(shown.stdout)


def test_a_plug_in_that_is_left_out_is_named() -> None:
    shown = doctor(*set_options(("engine.name=vllm", "vllm.device=cpu")), VLLM_PLUGINS="other")
    assert shown.exit_code == 1
    assert "VLLM_PLUGINS=other,quire" in advice(shown.stdout)
