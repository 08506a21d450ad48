"""`python -m tests.rigs.model_class stock|ours CHECKPOINT OUTPUT`: what vLLM's own class, or ours, says of two pages.

Writes [[token ids, log-probability], …] as JSON. Both sides get the same drawn pages, stock as pictures that it cuts
itself, ours as the views that the rasterizer would hand on.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from quire.jobs.bench.drawn_pages import A4, SLIDE, drawn_page, page_image
from tests.rigs.small_model import engine_arguments
from tests.rigs.vllm_environment import ENVIRONMENT

PROMPT = "<image>\nFree OCR."
NUM_TOKENS = 24


def prompts(side: str) -> list[Any]:
    from quire.deepseek_vllm.inputs import page_prompt

    if side == "ours":
        return [page_prompt(page_image("gundam", seed, size), PROMPT) for seed, size in enumerate((A4, SLIDE))]
    pictures = [drawn_page(seed, size) for seed, size in enumerate((A4, SLIDE))]
    return [{"prompt": PROMPT, "multi_modal_data": {"image": picture}} for picture in pictures]


def main(side: str, checkpoint: str, output: str) -> None:
    os.environ.update(ENVIRONMENT | {"VLLM_PLUGINS": "quire" if side == "ours" else ""})
    from vllm import LLM, SamplingParams

    llm = LLM(**engine_arguments(Path(checkpoint), max_num_seqs=1))
    params = SamplingParams(temperature=0.0, max_tokens=NUM_TOKENS, logprobs=0, skip_special_tokens=False)
    answers = [answer.outputs[0] for answer in llm.generate(prompts(side), params, use_tqdm=False)]
    said = [[list(answer.token_ids), answer.cumulative_logprob] for answer in answers]
    Path(output).write_text(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
