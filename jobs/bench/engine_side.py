"""One side of the comparison with vLLM's own class, in a process of its own:
`python -m quire.jobs.bench.engine_side JOB`.

The job is a JSON file (`Job`); what comes out goes into the file that it names. Which class vLLM takes is decided by
the environment that this process is started with (VLLM_PLUGINS), and checked here. A job has messages measured
(what crosses to the engine's process, without an engine) or pages read with answers of forced lengths.

It does not know the other side.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.input_processor import InputProcessor
from vllm.v1.serial_utils import MsgpackEncoder

from quire.deepseek_vllm.inputs import page_prompt
from quire.engines.gpu.process import is_registered, version
from quire.jobs.bench.drawn_pages import drawn_page, page_image

_NUM_DRAWN = 16
_WARM_UP_PAGES = 8
_WARM_UP_TOKENS = 8
_SHUTDOWN_TIMEOUT_S = 30.0

Side = Literal["ours", "stock"]


@dataclass(frozen=True, slots=True)
class Case:
    """Pages of one mode, `requests` of them in the engine at any time. `lengths` has one entry a page."""

    mode: str
    requests: int
    spread: str
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """`arguments` are `AsyncEngineArgs`'. Without cases, messages of pages of `modes` are measured."""

    side: Side
    arguments: dict[str, Any]
    guard: dict[str, Any]
    prompt: str
    modes: tuple[str, ...]
    cases: tuple[Case, ...]
    output: str


class MessageRow(TypedDict):
    side: str
    mode: str
    bytes: int
    process_ms: float
    encode_ms: float


class ThroughputRow(TypedDict):
    side: str
    mode: str
    requests: int
    spread: str
    pages: int
    seconds: float
    pages_per_s: float
    output_tokens: int
    tokens_per_s: float
    num_forced: int


def main() -> None:
    table = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    cases = tuple(Case(**case) for case in table.pop("cases"))
    job = Job(**table, cases=cases)
    if is_registered() != (job.side == "ours"):
        raise SystemExit(
            "vLLM does not take Quire's class here: install Quire as a package (pip install .)"
            if job.side == "ours"
            else "vLLM takes Quire's class although VLLM_PLUGINS is empty"
        )
    if job.cases:
        asyncio.run(_read_pages(job))
    else:
        processor = InputProcessor(AsyncEngineArgs(**job.arguments).create_engine_config())
        _write(job, [_message(job, mode, processor) for mode in job.modes])


def _message(job: Job, mode: str, processor: InputProcessor) -> MessageRow:
    """The request that vLLM makes of a page, encoded as it is when it goes to the engine's process."""
    process_ms, encode_ms, num_bytes = [], [], 0
    for number in range(4):
        prompt, params = _prompt(job, mode, number), _params(job, 16)
        started = time.process_time()
        request = processor.process_inputs(str(number), prompt, params, ("generate",))
        processed = time.process_time()
        num_bytes = sum(len(memoryview(part).cast("B")) for part in MsgpackEncoder().encode(request))
        process_ms.append(1e3 * (processed - started))
        encode_ms.append(1e3 * (time.process_time() - processed))
    return {
        "side": job.side,
        "mode": mode,
        "bytes": num_bytes,
        "process_ms": statistics.median(process_ms[1:]),
        "encode_ms": statistics.median(encode_ms[1:]),
    }


async def _read_pages(job: Job) -> None:
    llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**job.arguments))
    rows: list[ThroughputRow] = []
    try:
        for mode, requests in {case.mode: case.requests for case in job.cases}.items():
            num_pages = min(requests, _WARM_UP_PAGES)
            await _run(llm, job, Case(mode, num_pages, "", (_WARM_UP_TOKENS,) * num_pages))
        for case in job.cases:
            rows.append(await _run(llm, job, case))
            _write(job, rows)  # what is there is kept if a later case fails
    finally:
        await asyncio.to_thread(llm.shutdown, _SHUTDOWN_TIMEOUT_S)


async def _run(llm: AsyncLLM, job: Job, case: Case) -> ThroughputRow:
    """From the first request to the last answer: filling up and running empty count."""
    slots = asyncio.Semaphore(case.requests)

    async def read(number: int, length: int) -> int:
        async with slots:
            return await _num_tokens(llm, job, case.mode, number, length)

    started = time.perf_counter()
    counts = await asyncio.gather(*(read(number, length) for number, length in enumerate(case.lengths)))
    seconds = time.perf_counter() - started
    return {
        "side": job.side,
        "mode": case.mode,
        "requests": case.requests,
        "spread": case.spread,
        "pages": len(counts),
        "seconds": seconds,
        "pages_per_s": len(counts) / seconds,
        "output_tokens": sum(counts),
        "tokens_per_s": sum(counts) / seconds,
        "num_forced": sum(count == length for count, length in zip(counts, case.lengths, strict=True)),
    }


async def _num_tokens(llm: AsyncLLM, job: Job, mode: str, number: int, length: int) -> int:
    num_tokens = 0
    async for output in llm.generate(_prompt(job, mode, number), _params(job, length), uuid.uuid4().hex):
        num_tokens += len(output.outputs[0].token_ids)
    return num_tokens


def _prompt(job: Job, mode: str, number: int) -> Any:
    """Page `number`. Few pages are drawn, but each request's is one that the engine's caches have not seen."""
    drawn, identity = number % _NUM_DRAWN, uuid.uuid4().hex
    if job.side == "stock":
        data = {"image": [drawn_page(drawn)]}
        return {"prompt": job.prompt, "multi_modal_data": data, "multi_modal_uuids": {"image": [identity]}}
    return page_prompt(dataclasses.replace(_page_image(mode, drawn), sha256=identity), job.prompt)


_page_image = cache(page_image)


def _params(job: Job, num_tokens: int) -> SamplingParams:
    """As Quire's engine asks, but for the length."""
    return SamplingParams(
        temperature=0.0,
        max_tokens=num_tokens,
        min_tokens=num_tokens,
        ignore_eos=True,
        logprobs=0,
        skip_special_tokens=False,
        output_kind=RequestOutputKind.DELTA,
        extra_args=job.guard or None,
    )


def _write(job: Job, rows: Sequence[MessageRow | ThroughputRow]) -> None:
    Path(job.output).write_text(json.dumps({"vllm": version(), "rows": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
