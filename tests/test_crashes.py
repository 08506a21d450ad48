"""A test process that crashes is reported with the place where it did."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("end", "told"),
    [("os.abort()", ("Aborted", "test_it.py", "in test_end")), ("os._exit(1)", ("No fatal signal came",))],
)
def test_a_process_that_crashes_is_reported_with_its_place(
    tmp_path: Path, end: str, told: tuple[str, ...]
) -> None:
    (tmp_path / "conftest.py").write_text("pytest_plugins = ['tests.crashes']\n")
    (tmp_path / "test_it.py").write_text(f"import os\n\n\ndef test_end():\n    {end}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "--rootdir", str(tmp_path), "."]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={**variables, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    _, _, report = ended.stdout.partition("where gw0 crashed")
    assert all(word in report for word in told), ended.stdout
