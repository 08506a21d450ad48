"""`python -m quire.jobs.bench.engine`: our DeepSeek-OCR engine against vLLM's own class, and its parts by themselves.

Builds a checkpoint of random weights, then measures, part by part (`--parts`):

    encoder     ms a page, pages of a batch together against one by one            PyTorch
    pixels      uint8 normalised on the device against float32 sent to it           PyTorch
    guard       ms a step against the rule in Python                                PyTorch
    host        CPU ms a page in front of the engine                                PyTorch
    messages    bytes a page that cross to the engine's process                     vLLM
    throughput  pages/s and tokens/s with forced answers, and their share of the roofline   vLLM

The sides of `messages` and `throughput` run in processes of their own, in turn; figures are those of the run with
the median speed. Stock needs torchvision, has the tower's sizes built in (so not `--size small`), and one mode,
gundam. What cannot run is said and left out. Tables are printed as they come; `--output` gets all figures as JSON.

On a GPU, all of it at full size (the checkpoint takes 6.7 GB of disk):

    python -m quire.jobs.bench.engine --output engine.json

On a CPU, in minutes:

    python -m quire.jobs.bench.engine --size small --modes base gundam --requests 4 --tokens 16 --pages 2
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from quire.budget.roofline import REALISTIC, Card, card_of, pages_per_s
from quire.config.settings_file import load_settings
from quire.deepseek_vllm.sizes import SIZES
from quire.jobs.bench.checkpoint import write_checkpoint
from quire.jobs.bench.drawn_pages import A4
from quire.jobs.bench.engine_sides import SIDES, Plan, lengths, median_rows, run_side
from quire.jobs.bench.engine_tables import table, with_ratios
from quire.jobs.bench.engine_torch import encoder_rows, guard_rows, host_rows, measured_card, pixels_rows
from quire.rasterize.modes import MODES, layout

PARTS = ("encoder", "pixels", "guard", "host", "messages", "throughput")
MODES_OF_THE_MODEL = tuple(name for name, mode in MODES.items() if mode.side_px and name != "gundam9")


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.keep or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        _measure(options, folder)


def _measure(options: argparse.Namespace, folder: Path) -> None:
    checkpoint = folder / options.size
    if not (checkpoint / "model.safetensors.index.json").exists():
        write_checkpoint(checkpoint, SIZES[options.size])
    device = torch.device(options.device)
    report = _machine(options, device)
    print(f"{report['device']}; PyTorch {report['torch']}; {options.size} size; {' '.join(report['command'])}")
    for part in options.parts:
        report[part] = _PARTS[part](options, checkpoint, device, report)
        if report[part]:
            print(table(part, report[part]), flush=True)
        if options.output:
            options.output.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _encoder(options: argparse.Namespace, checkpoint: Path, device: torch.device, _: Any) -> Any:
    dtype = getattr(torch, options.dtype)
    return encoder_rows(checkpoint, device, dtype, options.modes, options.pages, options.rounds)


def _pixels(options: argparse.Namespace, _: Path, device: torch.device, __: Any) -> Any:
    return pixels_rows(device, getattr(torch, options.dtype), options.modes, options.pages, options.rounds)


def _guard(options: argparse.Namespace, _: Path, device: torch.device, __: Any) -> Any:
    return guard_rows(device, options.requests, options.steps)


def _host(options: argparse.Namespace, *_: Any) -> Any:
    return host_rows(options.modes, options.rounds)


def _messages(options: argparse.Namespace, checkpoint: Path, device: torch.device, report: dict[str, Any]) -> Any:
    return _in_turn(options, checkpoint, device, report, messages=True)


def _throughput(
    options: argparse.Namespace, checkpoint: Path, device: torch.device, report: dict[str, Any]
) -> Any:
    rows = with_ratios(median_rows([_in_turn(options, checkpoint, device, report) for _ in range(options.runs)]))
    card = _card(options, device, report)
    return [{**row, **_roofline(row, card, options)} for row in rows]


_PARTS: Mapping[str, Callable[..., Any]] = {
    "encoder": _encoder,
    "pixels": _pixels,
    "guard": _guard,
    "host": _host,
    "messages": _messages,
    "throughput": _throughput,
}


def _in_turn(
    options: argparse.Namespace,
    checkpoint: Path,
    device: torch.device,
    report: dict[str, Any],
    *,
    messages: bool = False,
) -> list[dict[str, Any]]:
    """Each side once. What goes wrong is printed and kept in the report."""
    plan, rows = _plan(options, checkpoint, device), []
    for side in options.sides:
        problem = _obstacle(side, options.size, messages)
        if not problem:
            outcome = run_side(plan, side, checkpoint.parent, messages=messages)
            rows += outcome.rows
            problem = outcome.problem
            report["vllm"] = outcome.vllm or report["vllm"]
        if problem:
            report["problems"].append(problem)
            print(f"\nNot measured: {problem}", flush=True)
    return rows


def _obstacle(side: str, size: str, messages: bool) -> str:
    if importlib.util.find_spec("vllm") is None:
        return f"{side}: vLLM is not installed"
    if side == "stock" and importlib.util.find_spec("torchvision") is None:
        return "stock: vLLM's own class needs torchvision, which is not installed"
    if side == "stock" and size == "small" and not messages:
        return "stock: vLLM's own class has the vision tower's sizes built in; take --size tower or full"
    return ""


def _plan(options: argparse.Namespace, checkpoint: Path, device: torch.device) -> Plan:
    is_cuda = device.type == "cuda"
    overrides = [
        "engine.name=vllm",
        f"vllm.device={device.type}",
        f"vllm.dtype={options.dtype}",
        f"vllm.max_num_seqs={max(options.requests)}",
        f"vllm.enforce_eager={'false' if is_cuda else 'true'}",
        *options.overrides,
    ]
    return Plan(
        checkpoint=checkpoint,
        settings=load_settings(None, overrides),
        memory_gib=_memory_gib(device),
        modes=tuple(options.modes),
        requests=tuple(options.requests),
        spreads=tuple(options.lengths),
        num_tokens=options.tokens,
        waves=options.waves,
        seed=options.seed,
        has_stock_guard=options.stock_guard,
        stock_arguments=dict(_argument(text) for text in options.stock_overrides),
    )


def _argument(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, json.loads(value)


def _memory_gib(device: torch.device) -> float:
    if device.type != "cuda":
        return 0.0
    return float(torch.cuda.get_device_properties(device).total_memory) / (1 << 30)


def _card(options: argparse.Namespace, device: torch.device, report: dict[str, Any]) -> Card | None:
    """What the roofline is reckoned for: by its data sheet, or as measured. None where it would say nothing."""
    if options.size != "full":
        return None
    card = measured_card(device) if options.measure else card_of(report["device"], _memory_gib(device))
    if card:
        report["card"] = {"name": card.name, "bytes_per_s": card.bytes_per_s, "flop_per_s": card.flop_per_s}
    return card


def _roofline(row: dict[str, Any], card: Card | None, options: argparse.Namespace) -> dict[str, float]:
    if card is None:
        return {}
    answers = lengths(row["spread"], row["pages"], options.tokens, options.seed)
    page = layout(row["mode"], *A4)
    ideal = pages_per_s(card, page, row["requests"], answers)
    realistic = pages_per_s(card, page, row["requests"], answers, REALISTIC)
    return {
        "ideal_pages_per_s": ideal,
        "realistic_pages_per_s": realistic,
        "share_of_ideal": row["pages_per_s"] / ideal,
        "share_of_realistic": row["pages_per_s"] / realistic,
    }


def _machine(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    is_cuda = device.type == "cuda"
    return {
        "command": ["python", "-m", "quire.jobs.bench.engine", *options.command],
        "device": torch.cuda.get_device_name(device) if is_cuda else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "vllm": "",
        "options": {name: str(value) for name, value in vars(options).items()},
        "problems": [],
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    is_cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    add("--size", choices=sorted(SIZES), default="full", help="of the checkpoint")
    add("--keep", type=Path, help="a folder that keeps the checkpoint and the sides' logs, and is used again")
    add("--output", type=Path, help="a file for all figures, as JSON")
    add("--device", default="cuda" if is_cuda else "cpu")
    add("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16" if is_cuda else "float32")
    add("--modes", nargs="+", choices=MODES_OF_THE_MODEL, default=list(MODES_OF_THE_MODEL))
    add("--requests", type=int, nargs="+", default=[64, 256, 512], help="in flight")
    add("--lengths", nargs="+", choices=("fixed", "spread"), default=["fixed", "spread"], help="of answers")
    add("--tokens", type=int, default=1000, help="of an answer, on average")
    add("--waves", type=int, default=2, help="pages read for each one in flight")
    add("--runs", type=int, default=1, help="of both sides, in turn")
    add("--pages", type=int, default=16, help="in one call of the encoder")
    add("--rounds", type=int, default=5, help="that medians of the encoder, pixels and host are taken over")
    add("--steps", type=int, default=30, help="that medians of the guard are taken over")
    add("--seed", type=int, default=0, help="of the answers' lengths")
    add(
        "--measure", action="store_true", help="the roofline by a copy and a matrix product, not by the data sheet"
    )
    add("--stock-guard", action=argparse.BooleanOptionalAction, default=True, help="vLLM's own n-gram processor")
    add("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for both sides")
    add("--stock-set", dest="stock_overrides", action="append", default=[], metavar="ARGUMENT=JSON")
    options = parser.parse_args(arguments)
    options.command = sys.argv[1:] if arguments is None else arguments
    return options


if __name__ == "__main__":
    main()
