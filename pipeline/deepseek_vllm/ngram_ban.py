"""No n-gram twice within a window: DeepSeek's guard against repetition, for a whole batch at once.

A token is banned if it would complete an n-gram that lies in full within the last `window_size` output tokens. The rule
is the one of DeepSeek's `NoRepeatNGramLogitsProcessor` over output tokens alone, as vLLM has it. In terms of lags: the
token `lag` places back may not follow again if the last n - 1 tokens equal those `lag` places before them. All lags of
all requests are compared in one step on the device, without a loop over requests and without waiting for the device.

It does not know vLLM: `guard.py` ties it to a batch there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LARGEST_WINDOW = 1024
"""Tokens kept of each request. DeepSeek's own windows are 50 to 128."""

_UNKNOWN = -1  # no token; equals nothing
_NOTHING = -2


@dataclass(frozen=True, slots=True)
class NgramRule:
    """The rule of one request. `whitelist` holds the ids of tokens that may repeat, such as table cells' tags."""

    ngram_size: int
    window_size: int
    whitelist: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.ngram_size <= self.window_size <= LARGEST_WINDOW:
            raise ValueError(
                f"ngram_size {self.ngram_size} and window_size {self.window_size}: "
                f"wanted is 2 <= ngram_size <= window_size <= {LARGEST_WINDOW}"
            )
        if any(token < 0 for token in self.whitelist):
            raise ValueError("whitelist_token_ids holds a negative number")

    @property
    def num_lags(self) -> int:
        """How far back a token can be that this rule bans."""
        return self.window_size - self.ngram_size + 1

    def extra_args(self) -> dict[str, object]:
        """What `SamplingParams.extra_args` carries; the names are those of vLLM's own processor."""
        names = ("ngram_size", "window_size", "whitelist_token_ids")
        return dict(zip(names, (self.ngram_size, self.window_size, list(self.whitelist)), strict=True))


def rule_of(extra_args: Mapping[str, object] | None) -> NgramRule | None:
    """The rule in a request's `extra_args`; None if they name no `ngram_size`. Raises `ValueError`."""
    if not extra_args or extra_args.get("ngram_size") is None:
        return None
    ngram_size = _integer("ngram_size", extra_args["ngram_size"])
    window_size = _integer("window_size", extra_args.get("window_size", 100))
    whitelist = extra_args.get("whitelist_token_ids") or ()
    if not isinstance(whitelist, (list, tuple, set, frozenset)):
        raise ValueError(f"whitelist_token_ids must be a list of token ids, not {whitelist!r}")
    tokens = {_integer("whitelist_token_ids", token) for token in whitelist}
    return NgramRule(ngram_size, window_size, tuple(sorted(tokens)))


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be an integer, not {value!r}")
    return value


class NgramBan:
    """The rules of requests by slot, and the ban itself. Slot `num_slots` never has a rule: it is for rows of
    the batch that want none."""

    def __init__(self, num_slots: int, device: torch.device) -> None:
        self._device = device
        self._rules: dict[int, NgramRule] = {}
        self._num_slots = num_slots
        self._is_stale = True

    @property
    def is_idle(self) -> bool:
        return not self._rules

    def set_rule(self, slot: int, rule: NgramRule | None) -> None:
        if self._rules.get(slot) == rule:
            return
        if rule is None:
            del self._rules[slot]
        else:
            self._rules[slot] = rule
        self._is_stale = True

    def apply(self, logits: Tensor, tokens: Tensor, slots: Tensor, ends: Tensor, num_tokens: Tensor) -> None:
        """Set the logits of banned tokens to minus infinity, in place.

        `logits`: (rows, vocabulary), float. `tokens`: (slots, columns), the tokens of each slot; the token at
        position p is in column p modulo the number of columns. For each row, `slots`, and `ends`: the position
        after its last token, and `num_tokens`: how many tokens before it count.
        """
        if self.is_idle:
            return
        if self._is_stale:
            self._upload()
        rules = self._table[slots]
        recent = self._recent(tokens, slots, ends, num_tokens)
        candidates = recent[:, : self._num_lags]
        banned = self._is_repeat(recent, rules[:, 0:1])
        banned &= self._lags[: self._num_lags] <= rules[:, 1:2]
        banned &= (candidates[:, :, None] != rules[:, None, 2:]).all(-1)
        # The same token may stand at several lags: its smallest value wins, whatever the order.
        ceiling = torch.where(banned, -torch.inf, torch.inf).to(logits.dtype)
        logits.scatter_reduce_(1, candidates.clamp(min=0).long(), ceiling, "amin")

    def _recent(self, tokens: Tensor, slots: Tensor, ends: Tensor, num_tokens: Tensor) -> Tensor:
        """(rows, lags + longest n-gram - 1): each row's last tokens, the newest first."""
        columns = (ends[:, None] - self._lags) % tokens.shape[1]
        is_token = self._lags <= num_tokens[:, None]
        return torch.where(is_token, tokens[slots[:, None], columns], _UNKNOWN)

    def _is_repeat(self, recent: Tensor, ngram_size: Tensor) -> Tensor:
        """(rows, lags): whether the n - 1 tokens before the one at a lag equal the last n - 1."""
        length = self._longest_ngram - 1
        last = recent[:, :length, None]
        last = torch.where(last >= 0, last, _NOTHING)
        earlier = recent.unfold(1, self._num_lags, 1)[:, 1:]  # (rows, length, lags)
        is_beyond = self._lags[:length] >= ngram_size
        is_equal = (earlier == last) | is_beyond[:, :, None]
        return is_equal.view(torch.uint8).amin(1).view(torch.bool)  # on a CPU three times as fast as `all`

    def _upload(self) -> None:
        """Send a row per slot: n, the number of lags, the whitelist, padded with `_UNKNOWN`. Note the largest n and
        lags."""
        rules = self._rules.values()
        self._longest_ngram = max(rule.ngram_size for rule in rules)
        self._num_lags = max(rule.num_lags for rule in rules)
        num_columns = 3 + max(len(rule.whitelist) for rule in rules)
        table = np.full((self._num_slots + 1, num_columns), _UNKNOWN, dtype=np.int32)
        for slot, rule in self._rules.items():
            row = (rule.ngram_size, rule.num_lags, *rule.whitelist)
            table[slot, : len(row)] = row
        self._table = to_device(table, self._device)
        self._lags = torch.arange(1, self._num_lags + self._longest_ngram, device=self._device)
        self._is_stale = False


class OutputHistory:
    """The last output tokens of each request on the device, kept up to date from vLLM's lists."""

    def __init__(self, num_slots: int, device: torch.device) -> None:
        self._device = device
        self.tokens = torch.full((num_slots + 1, LARGEST_WINDOW), _UNKNOWN, dtype=torch.int32, device=device)
        self.ends = torch.zeros(num_slots + 1, dtype=torch.int32, device=device)
        self._ends = np.zeros(num_slots + 1, dtype=np.int32)
        self._num_known = np.zeros(num_slots + 1, dtype=np.int32)
        self._lists: dict[int, list[int]] = {}
        self._slots = np.empty(0, dtype=np.int32)

    def follow(self, lists: Mapping[int, list[int]]) -> None:
        """Set the lists to follow, by slot, in place of those before. One that was followed already is not read
        again."""
        for slot, output in lists.items():
            if self._lists.get(slot) is not output:
                self._num_known[slot] = 0
        self._lists = dict(lists)
        self._slots = np.fromiter(lists, dtype=np.int32, count=len(lists))

    def catch_up(self) -> None:
        """Bring the device up to date with the lists. Usually each list grew by one token: these are sent together."""
        lists = self._lists.values()
        lengths = np.fromiter(map(len, lists), dtype=np.int32, count=len(lists))
        last = np.fromiter((output[-1] if output else _UNKNOWN for output in lists), np.int32, len(lists))
        grown = lengths - self._num_known[self._slots]
        by_one = grown == 1
        self._ends[self._slots] = lengths
        pieces = [np.stack([self._slots, lengths - 1, last])[:, by_one]]
        # A token that is not known yet (vLLM's -1) is read again next time.
        self._num_known[self._slots[by_one & (last >= 0)]] += 1
        pieces += [self._piece(int(slot)) for slot in self._slots[~by_one & (grown != 0)]]
        self._write(np.concatenate(pieces, axis=1))

    def _piece(self, slot: int) -> NDArray[np.int32]:
        """(3, tokens): what one list has and the device lacks. A list that became shorter is read again."""
        output = self._lists[slot]
        known = int(self._num_known[slot])
        start = max(len(output) - LARGEST_WINDOW, known if known < len(output) else 0)
        start = max(start, 0)
        tokens = output[start:]
        self._num_known[slot] = start + (tokens.index(_UNKNOWN) if _UNKNOWN in tokens else len(tokens))
        positions = range(start, len(output))
        return np.array([[slot] * len(tokens), positions, tokens], dtype=np.int32).reshape(3, -1)

    def _write(self, news: NDArray[np.int32]) -> None:
        """One transfer: the ends, then slots, positions and tokens."""
        num_ends, num_news = len(self._ends), news.shape[1]
        packed = to_device(np.concatenate([self._ends, news.reshape(-1)]), self._device)
        self.ends = packed[:num_ends]
        slots, positions, tokens = packed[num_ends:].view(3, num_news)
        self.tokens[slots, positions % LARGEST_WINDOW] = tokens


def to_device(array: NDArray[np.int32], device: torch.device) -> Tensor:
    """The array on the device. To a GPU it goes from pinned memory, without waiting for what runs there."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
