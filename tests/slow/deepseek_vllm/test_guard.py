"""The guard inside vLLM: both kinds of processor against the plain rule, and a real engine at temperature 0."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from quire.deepseek_vllm.guard_proof import GUARD, check_proof, proof_requests, prove_guard
from quire.deepseek_vllm.ngram_ban import NgramRule
from quire.errors import GuardNotApplied
from tests.rigs.small_model import engine_arguments, small_model, without_flask
from tests.slow.deepseek_vllm.reference import banned_tokens

VOCABULARY = 5
NUM_SLOTS = 8
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("environment")

RULES = [None, NgramRule(2, 12), NgramRule(3, 20, (1, 3)), NgramRule(4, 6), NgramRule(2, 30, (0,))]


@dataclass(eq=False)
class Page:
    """A request: its rule, and the list that its tokens are appended to."""

    rule: NgramRule | None
    output: list[int] = field(default_factory=list)

    def params(self) -> Any:
        from vllm import SamplingParams

        return SamplingParams(temperature=0.0, extra_args=self.rule.extra_args() if self.rule else None)


def new_page(rng: random.Random) -> Page:
    """One in three was preempted before and comes with what it had written."""
    num_tokens = rng.choice([0, 0, 40])
    return Page(rng.choice(RULES), [rng.randrange(VOCABULARY) for _ in range(num_tokens)])


def banned_in(logits: torch.Tensor) -> list[set[int]]:
    return [set(row.nonzero().flatten().tolist()) for row in torch.isinf(logits)]


class Batch:
    """The rows of vLLM's first runner: gaps left by removed requests are filled by new ones, then from the end."""

    def __init__(self) -> None:
        self.rows: list[Page] = []

    def change(self, rng: random.Random) -> Any:
        from vllm.v1.sample.logits_processor import BatchUpdateBuilder, MoveDirectionality

        builder = BatchUpdateBuilder()
        rows: dict[int, Page] = dict(enumerate(self.rows))
        for row in [row for row in rows if rng.random() < 0.1]:
            del rows[row]
            builder.removed_append(row)
        for _ in range(rng.choice([0, 0, 1, 3])):
            if len(rows) < NUM_SLOTS:
                gap = builder.pop_removed()
                row = len(rows) if gap is None else gap
                rows[row] = page = new_page(rng)
                builder.added.append((row, page.params(), None, page.output))
        while builder.has_removed() and rows and builder.peek_removed() < max(rows):
            gap, last = builder.pop_removed(), max(rows)
            rows[gap] = rows.pop(last)
            builder.moved.append((last, gap, MoveDirectionality.UNIDIRECTIONAL))
        if len(rows) > 1 and rng.random() < 0.5:
            one, other = rng.sample(sorted(rows), 2)
            rows[one], rows[other] = rows[other], rows[one]
            builder.moved.append((one, other, MoveDirectionality.SWAP))
        self.rows = [rows[row] for row in range(len(rows))]
        return builder.get_and_reset(len(rows))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_rows_that_come_go_and_move_keep_their_rules_and_tokens(seed: int, is_async: bool) -> None:
    """Asynchronous scheduling appends -1 and puts the token in its place just before it samples the next."""
    from quire.deepseek_vllm.guard import NgramGuard

    config = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_seqs=NUM_SLOTS))
    guard, batch, rng = NgramGuard(config, CPU, False), Batch(), random.Random(seed)
    assert not guard.is_argmax_invariant()
    drawn: dict[Page, int] = {}
    num_banned = 0
    for _ in range(60):
        guard.update_state(batch.change(rng))
        for page, token in drawn.items():
            page.output[-1] = token
        expected = [banned_tokens(page.output, page.rule) for page in batch.rows]
        logits = torch.zeros(len(batch.rows), VOCABULARY)
        assert banned_in(guard.apply(logits)) == expected
        num_banned += sum(map(len, expected))
        writers = [page for page in batch.rows if rng.random() < 0.9]  # the others are still in their prompts
        drawn = {page: rng.randrange(VOCABULARY) for page in writers}
        for page, token in drawn.items():
            page.output.append(-1 if is_async else token)
    assert num_banned > 50


@pytest.mark.parametrize("seed", range(6))
def test_the_second_runners_slots_and_rows(seed: int) -> None:
    """Tokens are in vLLM's table, after those of the prompt; rows come in another order each step."""
    from vllm.v1.worker.gpu.sample.logits_processor import interface

    from quire.deepseek_vllm.guard import NgramGuard

    rng = random.Random(seed)
    table = torch.zeros(NUM_SLOTS, 64, dtype=torch.int32)
    prompt_len = torch.zeros(NUM_SLOTS, dtype=torch.int32)
    states = interface.LogitsProcRequestState(
        device=CPU,
        max_num_reqs=NUM_SLOTS,
        vocab_size=VOCABULARY,
        all_token_ids=SimpleNamespace(gpu=table),
        prompt_len=SimpleNamespace(gpu=prompt_len),
        prefill_len=SimpleNamespace(gpu=prompt_len),
        total_len=SimpleNamespace(gpu=None),
    )
    guard = NgramGuard(SimpleNamespace(speculative_config=None), states)
    pages: dict[int, Page] = {}
    num_banned = 0
    for _ in range(60):
        for slot in range(NUM_SLOTS):
            if slot not in pages or len(pages[slot].output) > 48:
                pages[slot] = page = new_page(rng)
                prompt_len[slot] = rng.randrange(1, 9)
                table[slot] = torch.randint(VOCABULARY, (64,))
                assert guard.add_request(slot, page.params()) == (page.rule is not None)
        for slot, page in pages.items():
            start = int(prompt_len[slot])
            table[slot, start : start + len(page.output)] = torch.tensor(page.output, dtype=torch.int32)
        rows = rng.sample(range(NUM_SLOTS), rng.randrange(1, NUM_SLOTS))
        slots = torch.tensor(rows, dtype=torch.int32)
        lengths = torch.tensor([len(pages[slot].output) for slot in rows])
        positions = prompt_len[rows] + lengths - 1
        context = interface.LogitsContext(
            expanded_idx_mapping=slots,
            idx_mapping=slots,
            idx_mapping_np=np.array(rows, dtype=np.int32),
            expanded_local_pos=torch.zeros(len(rows), dtype=torch.int32),
            input_ids=table[rows, positions],
            pos=positions,
            seq_lens_upper_bound_np=(positions + 1).numpy(),
        )
        expected = [banned_tokens(pages[slot].output, pages[slot].rule) for slot in rows]
        assert banned_in(guard.apply(torch.zeros(len(rows), VOCABULARY), context)) == expected
        num_banned += sum(map(len, expected))
        for slot in rows:
            pages[slot].output.append(rng.randrange(VOCABULARY))
    assert num_banned > 50


def test_draft_tokens_are_refused_by_the_second_kind() -> None:
    from quire.deepseek_vllm.guard import NgramGuard

    states = SimpleNamespace(max_num_reqs=1, device=CPU)
    with pytest.raises(ValueError, match="speculative"):
        NgramGuard(SimpleNamespace(speculative_config=object()), states)


def test_both_of_vllms_loaders_take_the_guard() -> None:
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.sample.logits_processor import validate_logits_processors_parameters

    bad = SamplingParams(extra_args={"ngram_size": 0})
    with pytest.raises(VLLMValidationError, match="ngram_size"):
        validate_logits_processors_parameters([GUARD], bad)
    from vllm.v1.worker.gpu.sample import logits_processor as loader

    with pytest.raises(VLLMValidationError, match="ngram_size"):
        loader.build_custom_logits_processors_params_validator([GUARD])(bad)


def repeated_pairs(tokens: list[int]) -> int:
    pairs = list(pairwise(tokens))
    return len(pairs) - len(set(pairs))


@pytest.fixture(scope="module")
def looping_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("guard"), loops=True)


Generate = Callable[[list[Any], list[Any]], list[list[int]]]


def generate_with(llm: Any) -> Generate:
    return lambda prompts, params: [
        list(answer.outputs[0].token_ids) for answer in llm.generate(prompts, params, use_tqdm=False)
    ]


@pytest.fixture(scope="module", params=[False, True], ids=["sync", "async"])
def generate(request: pytest.FixtureRequest, looping_model: Path, environment: None) -> Generate:
    """A real engine with the guard, scheduled in either way."""
    return start(looping_model, logits_processors=[GUARD], async_scheduling=request.param)


@pytest.fixture(scope="module")
def generate_unguarded(looping_model: Path, environment: None) -> Generate:
    """It lives as long as the others here: an engine that ends takes along what it shares with them."""
    return start(looping_model)


def start(model: Path, **arguments: Any) -> Generate:
    """In this process, and for text alone."""
    from vllm import LLM

    from quire.deepseek_vllm import register

    register()
    with without_flask():
        return generate_with(LLM(**engine_arguments(model, limit_mm_per_prompt={"image": 0}, **arguments)))


def test_at_temperature_0_no_pair_comes_twice_with_the_guard(generate: Generate) -> None:
    from vllm import SamplingParams

    rules = [None, NgramRule(2, 128), NgramRule(3, 20), None, NgramRule(2, 8)]
    params = [
        SamplingParams(
            temperature=0.0,
            max_tokens=96 + row,
            ignore_eos=True,
            extra_args=rule.extra_args() if rule else None,
        )
        for row, rule in enumerate(rules)
    ]
    answers = generate([{"prompt_token_ids": [65 + row]} for row in range(len(rules))], params)
    for answer, rule in zip(answers, rules, strict=True):
        assert all(token not in banned_tokens(answer[:at], rule) for at, token in enumerate(answer))
    assert repeated_pairs(answers[0]) > 20 and repeated_pairs(answers[3]) > 20, "the model loops"
    assert repeated_pairs(answers[1]) == 0


def test_the_proof_passes_and_a_request_that_cannot_be_meant_is_refused_alone(generate: Generate) -> None:
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError

    check_proof(*generate(*proof_requests()))
    with pytest.raises(VLLMValidationError, match="ngram_size"):
        generate([{"prompt_token_ids": [65]}], [SamplingParams(extra_args={"ngram_size": 1})])
    check_proof(*generate(*proof_requests()))


@dataclass(frozen=True)
class AsAsync:
    """What `AsyncLLM` gives, from an engine in this process."""

    answers: Generate

    async def generate(self, prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
        [answer] = self.answers([prompt], [params])
        yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=answer)])


def test_an_engine_without_the_guard_is_refused(generate: Generate, generate_unguarded: Generate) -> None:
    asyncio.run(prove_guard(AsAsync(generate)))
    with pytest.raises(GuardNotApplied, match="this vLLM does not apply"):
        asyncio.run(prove_guard(AsAsync(generate_unguarded)))


@pytest.mark.parametrize(
    ("free", "guarded"),
    [
        ([100] * 6, [100] * 6),
        ([100] * 6, [100, 100, 7, 100]),
        ([100] * 6, [100, 100, 7, 100, 7, 9]),
        ([100] * 5 + [1], [100, 100, 7, 100, 8, 100]),
        ([100] * 6, [100, 7, 100, 8, 100, 9]),
    ],
)
def test_answers_that_prove_nothing_are_refused(free: list[int], guarded: list[int]) -> None:
    with pytest.raises(GuardNotApplied):
        check_proof(free, guarded)
    check_proof([100] * 6, [100, 100, 7, 100, 8, 100])
