"""The repetition guard as vLLM's logits processor. A request asks for it in `SamplingParams.extra_args`
(`NgramRule.extra_args`); an engine loads it with `logits_processors=[GUARD]` (`guard_proof.py`).

vLLM has two model runners, each with its own kind of processor. It loads a processor by one name, before it says which
runner it took. So `NgramGuard` is a subclass of both kinds, and making one gives the kind that fits. The first runner
counts requests by row of the batch and appends tokens to Python lists; the second (the default in vLLM 0.32 where
Triton is available) gives each request a slot for its lifetime and keeps all tokens on the device.

It does not know DeepSeek's parameters, nor how the ban is computed: `ngram_ban.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.sample.logits_processor import LogitsProcessor as BatchProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from quire.deepseek_vllm.ngram_ban import NgramBan, NgramRule, OutputHistory, rule_of, to_device

try:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as SlotProcessor
except ImportError:  # vLLM 0.26 and 0.30: the second runner takes no processors, so the first runs

    class SlotProcessor:
        pass


class NgramGuard(BatchProcessor, SlotProcessor):
    """What vLLM loads. Making one gives a `BatchGuard` or a `SlotGuard`: the runners differ in what they pass."""

    def __new__(cls, vllm_config: Any, *runner: Any) -> Any:
        return BatchGuard(vllm_config, *runner) if len(runner) == 2 else SlotGuard(vllm_config, *runner)

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raise `ValueError` for parameters that make no sense: vLLM then refuses this request only."""
        rule_of(sampling_params.extra_args)


@dataclass(slots=True)
class _Guarded:
    """A request with a rule. `output` is vLLM's own list, which grows."""

    rule: NgramRule
    output: list[int]
    slot: int | None = None


class BatchGuard(BatchProcessor):
    """For the first runner. A request keeps its slot while vLLM moves it between rows of the batch.

    The lists are read in `apply`, not in `update_state`: under asynchronous scheduling the last token is a
    placeholder until vLLM repairs the lists, right before it samples.
    """

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._device = torch.device(device)
        self._num_slots = vllm_config.scheduler_config.max_num_seqs
        self._ban = NgramBan(self._num_slots, self._device)
        self._history = OutputHistory(self._num_slots, self._device)
        self._by_row: dict[int, _Guarded] = {}
        self._slots = torch.empty(0, dtype=torch.int32, device=self._device)

    def is_argmax_invariant(self) -> bool:
        """False: at temperature 0, vLLM skips processors that are argmax-invariant."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if process_dict_updates(self._by_row, batch_update, _guarded):
            self._give_slots()

    def _give_slots(self) -> None:
        requests = self._by_row.values()
        free = set(range(self._num_slots)) - {request.slot for request in requests}
        for request in requests:
            if request.slot is None:
                request.slot = free.pop()
        by_slot = {request.slot: request for request in requests if request.slot is not None}
        for slot in range(self._num_slots):
            self._ban.set_rule(slot, by_slot[slot].rule if slot in by_slot else None)
        self._history.follow({slot: request.output for slot, request in by_slot.items()})
        slots = np.full(self._num_slots, self._num_slots, dtype=np.int32)
        slots[list(self._by_row)] = [request.slot for request in requests]
        self._slots = to_device(slots, self._device)

    def apply(self, logits: Tensor) -> Tensor:
        if self._by_row:
            self._history.catch_up()
            slots = self._slots[: len(logits)]
            ends = self._history.ends[slots]
            self._ban.apply(logits, self._history.tokens, slots, ends, ends)
        return logits


def _guarded(params: SamplingParams, _prompt: list[int] | None, output: list[int]) -> _Guarded | None:
    rule = rule_of(params.extra_args)
    return None if rule is None else _Guarded(rule, output)


class SlotGuard(SlotProcessor):
    """For the second runner. Slots and tokens are vLLM's own; rows come in another order each step."""

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        if vllm_config.speculative_config is not None:
            raise ValueError("the repetition guard does not see draft tokens: turn speculative decoding off")
        self._states = req_states
        self._ban = NgramBan(req_states.max_num_reqs, req_states.device)
        self._has_rule = np.zeros(req_states.max_num_reqs, dtype=bool)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        rule = rule_of(sampling_params.extra_args)
        self._ban.set_rule(req_idx, rule)
        self._has_rule[req_idx] = rule is not None
        return rule is not None

    def apply(self, logits: Tensor, ctx: Any) -> Tensor:
        """`ctx.pos` is the position of each row's last token, which is in the table by now."""
        if self._has_rule[ctx.idx_mapping_np].any():
            slots, ends = ctx.expanded_idx_mapping, ctx.pos + 1
            num_output_tokens = ends - self._states.prompt_len.gpu[slots]
            self._ban.apply(logits, self._states.all_token_ids.gpu, slots, ends, num_output_tokens)
        return logits
