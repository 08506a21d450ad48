"""Runs the two sides of the comparison: makes their jobs, starts their processes in turn, gathers their rows.

Ours runs as `quire convert` would run it, stock with the same arguments but with vLLM's own class and its own guard.
That guard is written for vLLM's first model runner and crashes the second, so stock runs on the first; without the
guard (`has_stock_guard`) vLLM takes whichever it prefers.

Imports neither vLLM nor PyTorch; a side that cannot run is a sentence in the report, not an error.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quire.config.engines import EngineSettings
from quire.config.settings import Settings
from quire.deepseek_vllm.ngram_ban import NgramRule
from quire.engines.gpu.arguments import ENVIRONMENT, engine_arguments

SIDES = ("stock", "ours")
STOCK_MODE = "gundam"
STOCK_GUARD = "vllm.model_executor.models.deepseek_ocr:NGramPerReqLogitsProcessor"

_CPU_ENVIRONMENT = {"TORCHDYNAMO_DISABLE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
_SPREAD_SIGMA = 0.6
_LONGEST_SHARE = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What both sides are to do. `memory_gib` is the GPU's, 0 for a CPU; `stock_arguments` win over the common."""

    checkpoint: Path
    settings: Settings
    memory_gib: float
    modes: tuple[str, ...]
    requests: tuple[int, ...]
    spreads: tuple[str, ...]
    num_tokens: int
    waves: int
    seed: int
    has_stock_guard: bool = True
    stock_arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problem` says why there are fewer rows than wanted, "" if there are not."""

    rows: list[dict[str, Any]]
    vllm: str
    problem: str


def run_side(plan: Plan, side: str, folder: Path, *, messages: bool) -> Outcome:
    """One process. `messages` measures what crosses to the engine's process, else pages are read."""
    name = f"{side}-{'messages' if messages else 'pages'}"
    job_path, result, log = (folder / f"{name}{suffix}" for suffix in (".job", ".json", ".log"))
    result.unlink(missing_ok=True)
    job_path.write_text(json.dumps(_job(plan, side, result, messages=messages)), encoding="utf-8")
    command = [sys.executable, "-m", "quire.jobs.bench.engine_side", str(job_path)]
    with log.open("w") as stream:
        code = subprocess.run(
            command, env=_environment(plan, side), stdout=stream, stderr=subprocess.STDOUT
        ).returncode
    found: dict[str, Any] = {"rows": [], "vllm": ""}
    if result.exists():
        found = json.loads(result.read_text(encoding="utf-8"))
    return Outcome(found["rows"], found["vllm"], "" if code == 0 else f"{side}: {_last_error(log)}")


def lengths(spread: str, count: int, mean: int, seed: int) -> list[int]:
    """Tokens that each answer is forced to have: all alike ("fixed"), or ("spread") as pages of documents have
    them, lognormal with the given mean, at most five times that."""
    if spread == "fixed":
        return [mean] * count
    generator = random.Random(seed)
    centre = math.log(mean) - _SPREAD_SIGMA**2 / 2
    drawn = (generator.lognormvariate(centre, _SPREAD_SIGMA) for _ in range(count))
    return [min(max(1, round(length)), _LONGEST_SHARE * mean) for length in drawn]


def modes_of(plan: Plan, side: str) -> tuple[str, ...]:
    """Stock has one."""
    return (STOCK_MODE,) if side == "stock" else plan.modes


def _job(plan: Plan, side: str, result: Path, *, messages: bool) -> dict[str, Any]:
    engine = plan.settings.engine
    has_guard = engine.ngram_size and (side == "ours" or plan.has_stock_guard)
    return {
        "side": side,
        "arguments": _arguments(plan, side),
        "guard": _rule(engine).extra_args() if has_guard else {},
        "prompt": engine.prompt,
        "modes": modes_of(plan, side),
        "cases": [] if messages else _cases(plan, side),
        "output": str(result),
    }


def _rule(engine: EngineSettings) -> NgramRule:
    return NgramRule(engine.ngram_size, engine.ngram_window, tuple(engine.ngram_whitelist))


def _arguments(plan: Plan, side: str) -> dict[str, Any]:
    common = engine_arguments(plan.settings, plan.checkpoint, plan.memory_gib)
    if side == "ours":
        return common
    has_guard = plan.settings.engine.ngram_size and plan.has_stock_guard
    guards = {"logits_processors": [STOCK_GUARD] if has_guard else []}
    return {**common, **guards, **plan.stock_arguments}


def _cases(plan: Plan, side: str) -> list[dict[str, Any]]:
    return [
        {
            "mode": mode,
            "requests": requests,
            "spread": spread,
            "lengths": lengths(spread, plan.waves * requests, plan.num_tokens, plan.seed),
        }
        for mode in modes_of(plan, side)
        for requests in plan.requests
        for spread in plan.spreads
    ]


def _environment(plan: Plan, side: str) -> dict[str, str]:
    variables = {**ENVIRONMENT, "HF_HUB_OFFLINE": "1", **({} if plan.memory_gib else _CPU_ENVIRONMENT)}
    variables |= {name: value for name, value in os.environ.items() if name != "VLLM_PLUGINS" or side == "ours"}
    if side == "stock":
        variables["VLLM_PLUGINS"] = ""
        if plan.has_stock_guard:
            variables["VLLM_USE_V2_MODEL_RUNNER"] = "0"
    return variables


def _last_error(log: Path) -> str:
    """The last line of the log that looks like an exception, else the last line."""
    lines = [
        line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    ]
    errors = [line for line in lines if "Error:" in line or "Exception:" in line]
    return (errors or lines or ["it said nothing"])[-1][-300:] + f" (all of it: {log})"


def median_rows(runs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of the same case in several runs as one, by the median of their speed."""
    cases: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for row in (row for run in runs for row in run):
        cases.setdefault((row["side"], row["mode"], row["requests"], row["spread"]), []).append(row)
    return [sorted(rows, key=lambda row: row["pages_per_s"])[len(rows) // 2] for rows in cases.values()]
