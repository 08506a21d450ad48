"""Milliseconds a step that the repetition guard costs: ours for the whole batch against Python, request by request.

    python -m quire.jobs.bench.guard [--requests 64 256 512] [--device cuda] [--steps N]

Each request has written about a thousand tokens and writes one more a step. "lists" is what vLLM's first runner
costs in addition, which keeps tokens in Python lists; the second keeps them on the device. "Python" is vLLM's own
processor where it can be imported, and the same rule otherwise. Times are medians: on a GPU of the wall clock,
waiting for the device at the end of a step; on a CPU of this process's own time. Needs no more than PyTorch.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from quire.deepseek_vllm.ngram_ban import NgramBan, NgramRule, OutputHistory

_RULE = NgramRule(30, 90, (128821, 128822))
_VOCABULARY = 129_280
_NUM_TOKENS = 1000

PythonRule = Callable[[list[int], Tensor], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    name, python_rule = find_python_rule()
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    print(f"{where}; torch {torch.__version__}; n-gram 30 in 90; Python: {name}")
    print("requests   lists ms     ban ms    both ms  Python ms     ratio")
    for num_requests in arguments.requests:
        lists, ban, both, python = measure(num_requests, device, arguments.steps, python_rule)
        print(f"{num_requests:8} {lists:10.3f} {ban:10.3f} {both:10.3f} {python:10.3f} {python / both:8.1f}x")


def measure(
    num_requests: int, device: torch.device, num_steps: int, python_rule: PythonRule
) -> tuple[float, float, float, float]:
    """Medians in ms a step: following the lists, the ban, both, and the rule in Python. Turn by turn, so that
    whatever else the machine does falls on all alike."""
    outputs = [random.Random(row).choices(range(300), k=_NUM_TOKENS) for row in range(num_requests)]
    logits = torch.randn(num_requests, _VOCABULARY, device=device)
    slots = torch.arange(num_requests, device=device)
    ban, history = NgramBan(num_requests, device), OutputHistory(num_requests, device)
    for slot in range(num_requests):
        ban.set_rule(slot, _RULE)
    history.follow(dict(enumerate(outputs)))

    def in_batch() -> None:
        ends = history.ends[slots]
        ban.apply(logits, history.tokens, slots, ends, ends)

    def both() -> None:
        history.catch_up()
        in_batch()

    def in_python() -> None:
        for row, output in enumerate(outputs):
            python_rule(output, logits[row])

    times: list[list[float]] = []
    for step in range(num_steps + 3):
        _write_one_token(outputs, step)
        both_ms = milliseconds(both, device)
        _write_one_token(outputs, step + num_steps)
        round_ms = [milliseconds(work, device) for work in (history.catch_up, in_batch, in_python)]
        times.append([round_ms[0], round_ms[1], both_ms, round_ms[2]])
    lists, ban_ms, both_ms, python = (statistics.median(column) for column in zip(*times[3:], strict=True))
    return lists, ban_ms, both_ms, python


def _write_one_token(outputs: Sequence[list[int]], step: int) -> None:
    for row, output in enumerate(outputs):
        output.append((step * 31 + row * 17) % 300)


def milliseconds(work: Callable[[], None], device: torch.device) -> float:
    if device.type != "cuda":
        started = time.process_time()
        work()
        return (time.process_time() - started) * 1e3
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1e3


def find_python_rule() -> tuple[str, PythonRule]:
    """vLLM's own processor if it can be imported, which takes torchvision; else the rule as one would write it."""
    try:
        from vllm.model_executor.models.deepseek_ocr import NoRepeatNGramLogitsProcessor
    except (ImportError, RuntimeError):
        return "the rule, request by request", _plain_rule
    sizes = _RULE.ngram_size, _RULE.window_size
    return "vLLM's processor", NoRepeatNGramLogitsProcessor(*sizes, whitelist_token_ids=set(_RULE.whitelist))


def _plain_rule(output: list[int], logits: Tensor) -> None:
    n = _RULE.ngram_size
    window = output[-_RULE.window_size :]
    last = window[1 - n :]
    starts = range(len(window) - n + 1)
    banned = {window[at + n - 1] for at in starts if window[at : at + n - 1] == last} - set(_RULE.whitelist)
    if banned:
        logits[list(banned)] = -torch.inf


if __name__ == "__main__":
    main()
