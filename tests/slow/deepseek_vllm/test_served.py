"""The model where it runs in earnest: an engine in a process of its own, which finds it as a plug-in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import torch

from pipeline.deepseek_vllm.inputs import Prompt, latents_prompt, page_prompt, page_views
from pipeline.deepseek_vllm.worker import ENCODE, EXTENSION, decode_reply, encode_arguments
from tests.rigs.small_model import engine_arguments
from tests.slow.deepseek_vllm.pages import SLIDE, page_image

PROMPT = "<image>\nFree OCR."


async def test_pages_latents_and_refusals_cross_to_another_process(
    small_checkpoint: Path, environment: None
) -> None:
    from vllm import AsyncEngineArgs
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = AsyncEngineArgs(**engine_arguments(small_checkpoint, worker_extension_cls=EXTENSION))
    engine = AsyncLLM.from_engine_args(arguments)
    try:
        pages = [page_image(mode, seed, SLIDE) for seed, mode in enumerate(["tiny", "gundam", "small", "base"])]
        prompts = [page_prompt(page, PROMPT) for page in pages]
        bad = [
            latents_prompt(torch.zeros(73, 257), PROMPT),
            {**prompts[0], "multi_modal_data": {"image": ["a.png"]}},
        ]
        asked = (_ask(engine, prompt) for prompt in [*prompts, *bad])
        *said, wide, path = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(wide, VLLMValidationError) and "257" in str(wide)
        assert isinstance(path, VLLMValidationError) and "PageViews" in str(path)
        arguments_of_call = encode_arguments([page_views(page) for page in pages])
        latents = decode_reply(await engine.collective_rpc(ENCODE, args=arguments_of_call))
        assert [len(encoded) for encoded in latents] == [page.num_image_tokens for page in pages]
        again = await asyncio.gather(*(_ask(engine, latents_prompt(encoded, PROMPT)) for encoded in latents))
        assert again == said and len({tuple(tokens) for tokens in again}) == len(pages)
    finally:
        await asyncio.to_thread(engine.shutdown)


async def _ask(engine: Any, prompt: Prompt) -> list[int]:
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=16, skip_special_tokens=False)
    async for output in engine.generate(prompt, sampling, request_id=str(id(prompt))):
        tokens = list(output.outputs[0].token_ids)
    return tokens
