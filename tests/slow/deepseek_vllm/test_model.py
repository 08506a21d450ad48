"""The model inside the real vLLM: what it counts, what it says, what it refuses.

Paths are compared with each other in float32, never with tokens written down here: those depend on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from quire.deepseek_vllm.encoder import load_encoder
from quire.deepseek_vllm.inputs import PageViews, Prompt, latents_prompt, page_prompt, page_views
from quire.deepseek_vllm.worker import ENCODE, decode_reply, encode_arguments
from quire.rasterize.modes import layout
from quire.records import PageImage
from tests.rigs.small_model import engine_arguments, without_flask
from tests.slow.deepseek_vllm.pages import A4, SLIDE, page_image

PROMPT = "<image>\nFree OCR."
TEXT_TOKENS = 1 + len("\nFree OCR.")  # the first token, then one a byte


def _ask(engine: Any, prompts: Sequence[Prompt], max_tokens: int = 12) -> list[list[int]]:
    return [list(output.outputs[0].token_ids) for output in _outputs(engine, prompts, max_tokens)]


def _outputs(engine: Any, prompts: Sequence[Prompt], max_tokens: int) -> list[Any]:
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=max_tokens, skip_special_tokens=False)
    return list(engine.generate(prompts, sampling, use_tqdm=False))


@pytest.fixture(scope="module")
def pages() -> list[PageImage]:
    asked = [("tiny", A4), ("base", A4), ("gundam", SLIDE), ("tiny", SLIDE), ("small", A4)]
    return [page_image(mode, seed, size) for seed, (mode, size) in enumerate(asked)]


@pytest.fixture(scope="module")
def said(engine: Any, pages: list[PageImage]) -> list[list[int]]:
    """What the model says to all the pages at once."""
    return _ask(engine, [page_prompt(page, PROMPT) for page in pages])


@pytest.fixture(scope="module")
def latents(engine: Any, pages: list[PageImage]) -> list[torch.Tensor]:
    arguments = encode_arguments([page_views(page) for page in pages])
    return decode_reply(engine.collective_rpc(ENCODE, args=arguments))


@pytest.mark.parametrize(
    ("mode", "size", "max_tiles", "expected"),
    [
        ("tiny", A4, None, 73),
        ("small", A4, None, 111),
        ("base", A4, None, 273),
        ("large", A4, None, 421),
        ("gundam", A4, None, 903),
        ("gundam", SLIDE, None, 483),
        ("gundam", (800, 600), None, 893),
        ("gundam", (500, 500), None, 693),
        ("gundam", (120, 1200), None, 933),
        ("gundam", (120, 1200), 9, 1263),
        ("gundam", (300, 300), None, 273),
    ],
)
def test_the_engine_counts_a_pages_tokens(
    engine: Any, mode: str, size: tuple[int, int], max_tiles: int | None, expected: int
) -> None:
    page = page_image(mode, 0, size, max_tiles)
    (rendered,) = engine.renderer.render_cmpl([page_prompt(page, PROMPT)])
    assert len(rendered["prompt_token_ids"]) - TEXT_TOKENS == page.num_image_tokens == expected


def test_the_largest_pages_are_read(engine: Any) -> None:
    """The widest view, and the most tiles; vLLM stops where the tower gives another number of tokens than it counts."""
    pages = [page_image("large", 0, SLIDE), page_image("gundam", 0, (120, 1200), 9)]
    answers = _outputs(engine, [page_prompt(page, PROMPT) for page in pages], max_tokens=1)
    assert [len(answer.prompt_token_ids) - TEXT_TOKENS for answer in answers] == [421, 1263]


def test_modes_mixed_in_a_batch_say_what_they_say_alone(
    engine: Any, pages: list[PageImage], said: list[list[int]]
) -> None:
    assert [_ask(engine, [page_prompt(page, PROMPT)])[0] for page in pages] == said


def test_latents_say_what_their_pages_say(engine: Any, latents: list[torch.Tensor], said: list[list[int]]) -> None:
    assert _ask(engine, [latents_prompt(page, PROMPT) for page in latents]) == said


def test_pixels_and_latents_mix_in_a_batch(
    engine: Any, pages: list[PageImage], latents: list[torch.Tensor], said: list[list[int]]
) -> None:
    pairs = zip(pages, latents, strict=True)
    prompts = [
        page_prompt(page, PROMPT) if index % 2 else latents_prompt(encoded, PROMPT, page.sha256)
        for index, (page, encoded) in enumerate(pairs)
    ]
    assert _ask(engine, prompts) == said


def test_other_pages_and_other_prompts_say_other_things(engine: Any, said: list[list[int]]) -> None:
    others = [page_prompt(page_image("base", seed), PROMPT) for seed in range(20, 24)]
    again = page_prompt(page_image("base", 20), "<image>\nParse the figure.")
    answers = [*_ask(engine, [*others, again]), *said]
    assert len({tuple(answer) for answer in answers}) == len(answers)


def test_the_encoder_alone_gives_the_engines_latents(
    small_checkpoint: Path, pages: list[PageImage], latents: list[torch.Tensor]
) -> None:
    views = [page_views(page) for page in pages]
    alone = load_encoder(small_checkpoint, dtype=torch.float32)(
        [page.views for page in views], [page.tile_cols for page in views]
    )
    for encoded, expected in zip(alone, latents, strict=True):
        torch.testing.assert_close(encoded, expected, rtol=1e-4, atol=1e-4)


def test_a_prompt_in_tokens_gets_the_first_token_that_the_model_knows(
    engine: Any, pages: list[PageImage], said: list[list[int]]
) -> None:
    ids = engine.get_tokenizer().encode(PROMPT)
    prompts = [page_prompt(pages[0], "") | {"prompt_token_ids": tokens} for tokens in (ids, ids[1:])]
    for prompt in prompts:
        del prompt["prompt"]
    assert _ask(engine, prompts) == [said[0], said[0]]


def _view(px: int) -> torch.Tensor:
    return torch.zeros(px, px, 3, dtype=torch.uint8)


REFUSED = {
    "an unknown mode": (PageViews("tyni", 0, 0, (_view(512),)), "unknown mode 'tyni'"),
    "a size of another mode": (PageViews("base", 0, 0, (_view(512),)), "do not fit mode base"),
    "an oversize view": (PageViews("base", 0, 0, (_view(2048),)), "do not fit mode base"),
    "too many tiles": (PageViews("gundam", 2, 5, (*[_view(640)] * 10, _view(1024))), "cannot have 2 x 5"),
    "latents of another width": (torch.zeros(73, 257), "257"),
    "too many latents": (torch.zeros(1264, 256), "1 to 1263 tokens"),
    "no latents": (torch.zeros(0, 256), "1 to 1263 tokens"),
    "whole numbers for latents": (torch.zeros(73, 256, dtype=torch.int64), "floats"),
    "no page": ("page.png", "PageViews"),
}


def test_what_is_refused_leaves_those_in_flight_alone(
    engine: Any, pages: list[PageImage], said: list[list[int]]
) -> None:
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=12)
    finished: dict[str, list[int]] = {}

    def step() -> None:
        for output in core.step():
            if output.finished:
                finished[output.request_id.partition("-")[0]] = list(output.outputs[0].token_ids)

    core = engine.llm_engine
    good = {str(index): page_prompt(page, PROMPT) for index, page in enumerate(pages)}
    bad = {name: _request(item) for name, (item, _) in REFUSED.items()}
    bad["two pages"] = _request(*[page_views(pages[0])] * 2)
    bad["a prompt that is too long"] = page_prompt(pages[0], PROMPT + "long " * 500)
    bad["a prompt without a page"] = page_prompt(pages[0], "Free OCR.")
    names = iter(bad)
    for request_id, prompt in good.items():
        core.add_request(request_id, prompt, sampling)
        step()
        for name in [name for name, _ in zip(names, range(2), strict=False)]:
            with pytest.raises(Exception) as refusal:
                core.add_request(f"bad {name}", bad[name], sampling)
            assert REFUSED.get(name, ("", ""))[1] in str(refusal.value)
    assert next(names, None) is None, "a bad request was left out"
    while core.has_unfinished_requests():
        step()
    assert [finished[request_id] for request_id in good] == said


def _request(*items: object) -> Prompt:
    return {"prompt": PROMPT, "multi_modal_data": {"image": list(items)}}


def test_what_crosses_to_the_engine_is_the_pixels_and_little_else(engine: Any) -> None:
    from vllm.v1.serial_utils import MsgpackEncoder

    page = page_image("gundam", 0, A4)
    (rendered,) = engine.renderer.render_cmpl([page_prompt(page, PROMPT)])
    parts = MsgpackEncoder().encode(dict(rendered["mm_kwargs"]))
    num_bytes = sum(memoryview(part).nbytes for part in parts)
    assert layout("gundam", *A4).num_tiles == 6
    assert page.num_bytes < num_bytes < page.num_bytes + 5000 < 11e6


@pytest.fixture(scope="module")
def decoder(engine: Any, small_checkpoint: Path) -> Any:
    from vllm import LLM

    with without_flask():
        return LLM(**engine_arguments(small_checkpoint, limit_mm_per_prompt={"image": 0}))


def test_a_decoder_alone_loads_no_tower_and_says_the_same(
    decoder: Any, latents: list[torch.Tensor], said: list[list[int]]
) -> None:
    names = decoder.apply_model(_parameter_names)[0]
    assert not [name for name in names if name.startswith("encoder")]
    assert _ask(decoder, [latents_prompt(page, PROMPT) for page in latents]) == said


def test_a_decoder_alone_refuses_pixels(decoder: Any, pages: list[PageImage]) -> None:
    with pytest.raises(Exception, match="At most 0 image"):
        _ask(decoder, [page_prompt(pages[0], PROMPT)])


def _parameter_names(model: torch.nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]
