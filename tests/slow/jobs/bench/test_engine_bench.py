"""The engine benchmark itself: forced lengths, ratios, what it says about a side that cannot run, and one real run."""

from __future__ import annotations

import importlib.util
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from quire.config.settings_file import load_settings
from quire.jobs.bench import engine
from quire.jobs.bench.drawn_pages import drawn_page
from quire.jobs.bench.engine_sides import Plan, lengths, median_rows, run_side
from quire.jobs.bench.engine_tables import table, with_ratios
from quire.jobs.bench.engine_torch import encoder_rows, host_rows, pixels_rows, stock_pixels
from tests.rigs.vllm_environment import ENVIRONMENT

CPU = torch.device("cpu")


def test_lengths_are_all_alike_or_spread_around_the_same_mean() -> None:
    assert lengths("fixed", 3, 1000, seed=0) == [1000] * 3
    spread = lengths("spread", 4000, 1000, seed=0)
    assert statistics.fmean(spread) == pytest.approx(1000, rel=0.05)
    assert statistics.median(spread) < 900 and max(spread) <= 5000
    assert spread == lengths("spread", 4000, 1000, seed=0) != lengths("spread", 4000, 1000, seed=1)


def _row(side: str, mode: str, speed: float, requests: int = 64) -> dict[str, Any]:
    return {"side": side, "mode": mode, "requests": requests, "spread": "fixed", "pages_per_s": speed}


def test_ratios_are_to_stock_at_the_same_requests() -> None:
    rows = [_row("stock", "gundam", 2.0), _row("ours", "base", 8.0), _row("ours", "gundam", 5.0, requests=256)]
    assert [row["ratio"] for row in with_ratios(rows)] == [None, 4.0, None]


def test_of_several_runs_the_median_counts() -> None:
    runs = [[_row("stock", "gundam", speed), _row("ours", "gundam", 2 * speed)] for speed in (3.0, 1.0, 2.0)]
    assert [row["pages_per_s"] for row in median_rows(runs)] == [2.0, 4.0]


def test_a_table_has_a_dash_where_there_is_no_figure() -> None:
    row = {"mode": "tiny", "pages": 2, "one_by_one_ms": 1234.5, "batched_ms": 0.01234, "ratio": 1.5}
    assert table("encoder", [row]).splitlines()[-1] == "| tiny | 2 | 1,234 | 0.0123 | 1.5 | – |"


def test_a_side_that_cannot_run_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is real and vLLM is not; the real one ends a side in `test_two_pages_through_the_real_engine`."""
    (tmp_path / "vllm.py").write_text("raise OSError('no vLLM today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings = load_settings(None, ["engine.name=vllm", "vllm.device=cpu"])
    plan = Plan(tmp_path / "nothing", settings, 0.0, ("tiny",), (1,), ("fixed",), num_tokens=4, waves=1, seed=0)
    outcome = run_side(plan, "ours", tmp_path, messages=False)
    assert not outcome.rows
    assert outcome.problem.startswith("ours: OSError: no vLLM today") and str(tmp_path) in outcome.problem


def test_stock_pixels_are_what_vllm_makes_of_a_page() -> None:
    pixels = stock_pixels(drawn_page())
    assert [tuple(view.shape) for view in pixels] == [(3, 640, 640)] * 6 + [(3, 1024, 1024)]
    assert {view.dtype for view in pixels} == {torch.bfloat16}
    assert min(view.min() for view in pixels) == -1 and max(view.max() for view in pixels) == 1
    assert sum(view.nbytes for view in pixels) == 21_037_056


def test_the_parts_for_pytorch_alone(small_checkpoint: Path) -> None:
    (encoder,) = encoder_rows(small_checkpoint, CPU, torch.float32, ["tiny"], num_pages=2, rounds=1)
    (pixels,) = pixels_rows(CPU, torch.float32, ["tiny"], num_pages=2, rounds=1)
    (host,) = host_rows(["tiny"], rounds=1)
    assert encoder["one_by_one_ms"] > 0 and encoder["batched_ms"] > 0 and encoder["tflop_per_s"] is None
    assert pixels["uint8_bytes"] * 4 == pixels["float32_bytes"] == 512 * 512 * 3 * 4
    assert host["ours_ms"] > 0 and host["stock_ms"] > 0


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # PyTorch's own
def test_two_pages_through_the_real_engine(
    tmp_path: Path, small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "small").symlink_to(small_checkpoint)
    options = ["--size", "small", "--device", "cpu", "--dtype", "float32", "--modes", "gundam"]
    options += [
        "--requests",
        "2",
        "--waves",
        "1",
        "--tokens",
        "12",
        "--pages",
        "2",
        "--rounds",
        "1",
        "--steps",
        "2",
    ]
    options += ["--keep", str(tmp_path / "kept"), "--output", str(tmp_path / "engine.json")]
    engine.main(options)
    report = json.loads((tmp_path / "engine.json").read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    assert [row["requests"] for row in report["guard"]] == [2] and report["guard"][0]["python_ms"] > 0
    for part in engine.PARTS:
        assert report[part] and table(part, report[part]) in printed
    rows = [row for row in report["throughput"] if row["side"] == "ours"]
    assert {(row["mode"], row["spread"]) for row in rows} == {
        (mode, spread) for mode in ("gundam",) for spread in ("fixed", "spread")
    }
    for row in report["throughput"]:
        assert row["num_forced"] == row["pages"] == 2 and row["pages_per_s"] > 0
        assert row["output_tokens"] == sum(lengths(row["spread"], 2, 12, seed=0))
    sizes = {row["mode"]: row["bytes"] for row in report["messages"] if row["side"] == "ours"}
    assert 10_518_528 < sizes["gundam"] < 11_000_000
    assert report["vllm"] and report["device"] and report["command"][-1].endswith("engine.json")
    if importlib.util.find_spec("torchvision") is None:  # vLLM's own class cannot be imported
        assert any("torchvision" in problem for problem in report["problems"])
    assert any(problem.startswith("stock: ") for problem in report["problems"])  # the small tower is not its own
