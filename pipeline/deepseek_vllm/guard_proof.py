"""Proof at start-up that the installed vLLM applies the repetition guard at temperature 0: some versions silently did
not.

A bias makes one token win every step, whatever model and prompt. Without the guard the answer is that token over
and over; with it no pair of tokens may come twice. Both are asked for at once, in a handful of tokens.

It does not know how engines are made, and imports vLLM only when asked.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from quire.deepseek_vllm.ngram_ban import NgramRule
from quire.errors import GuardNotApplied

GUARD = "quire.deepseek_vllm.guard:NgramGuard"
"""What an engine's `logits_processors` must hold."""

_FAVOURITE = 100  # any token that every vocabulary has
_NUM_TOKENS = 6
_PROMPT = {"prompt_token_ids": [_FAVOURITE]}


async def prove_guard(engine: Any) -> None:
    """Ask a running `AsyncLLM` for the proof. Raises `GuardNotApplied`."""
    prompts, params = proof_requests()
    answers = [_answer(engine, prompt, each) for prompt, each in zip(prompts, params, strict=True)]
    check_proof(*await asyncio.gather(*answers))


def proof_requests() -> tuple[list[Any], list[Any]]:
    """Prompts and sampling parameters, as `LLM.generate` takes them: free first, guarded second."""
    from vllm import SamplingParams

    params = [
        SamplingParams(
            temperature=0.0,
            max_tokens=_NUM_TOKENS,
            ignore_eos=True,
            detokenize=False,
            logit_bias={_FAVOURITE: 1e4},
            extra_args=rule.extra_args() if rule else None,
        )
        for rule in (None, NgramRule(ngram_size=2, window_size=2 * _NUM_TOKENS))
    ]
    return [dict(_PROMPT), dict(_PROMPT)], params


def check_proof(free: Sequence[int], guarded: Sequence[int]) -> None:
    """Judge the token ids of both answers. Raises `GuardNotApplied`."""
    answers = f"(without the guard {list(free)}, with it {list(guarded)})"
    if list(free) != [_FAVOURITE] * _NUM_TOKENS or list(guarded[:2]) != [_FAVOURITE] * 2:
        raise GuardNotApplied(f"the test of the repetition guard came out as it cannot: {answers}")
    pairs = list(pairwise(guarded))
    if len(guarded) != _NUM_TOKENS or len(set(pairs)) < len(pairs):
        raise GuardNotApplied(
            f"this vLLM does not apply the repetition guard at temperature 0 {answers}: looping pages would run to"
            f" their token limit. The engine must be started with logits_processors=['{GUARD}'] and a version"
            " of vLLM that Quire supports"
        )


async def _answer(engine: Any, prompt: Any, params: Any) -> list[int]:
    answer: list[int] = []
    async for output in engine.generate(prompt, params, f"guard-{uuid.uuid4().hex}"):
        answer = list(output.outputs[0].token_ids)
    return answer
