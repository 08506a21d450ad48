"""The n-gram rule written plainly, one request at a time: what everything faster must equal."""

from __future__ import annotations

from collections.abc import Sequence

from quire.deepseek_vllm.ngram_ban import NgramRule


def banned_tokens(output: Sequence[int], rule: NgramRule | None) -> set[int]:
    """The tokens that would complete an n-gram that stands in the last `window_size` tokens of the output."""
    if rule is None:
        return set()
    window = list(output[-rule.window_size :])
    n = rule.ngram_size
    if len(window) < n:
        return set()
    last = window[len(window) - (n - 1) :]
    grams = [window[start : start + n] for start in range(len(window) - n + 1)]
    return {gram[-1] for gram in grams if gram[:-1] == last} - set(rule.whitelist)
