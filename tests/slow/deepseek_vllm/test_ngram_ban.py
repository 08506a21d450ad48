"""The ban over a batch equals the rule written plainly, whatever the lengths, windows and whitelists."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.deepseek_vllm.ngram_ban import LARGEST_WINDOW, NgramBan, NgramRule, OutputHistory, rule_of
from tests.slow.deepseek_vllm.reference import banned_tokens

CPU = torch.device("cpu")
VOCABULARY = 6


@st.composite
def rules(draw: st.DrawFn) -> NgramRule:
    ngram_size = draw(st.integers(2, 6))
    window_size = draw(st.integers(ngram_size, 24))
    whitelist = draw(st.sets(st.integers(0, VOCABULARY - 1), max_size=2))
    return NgramRule(ngram_size, window_size, tuple(sorted(whitelist)))


def outputs(max_size: int = 40) -> st.SearchStrategy[list[int]]:
    """Few different tokens, so that n-grams repeat; some outputs are a unit over and over."""
    token = st.integers(0, VOCABULARY - 1)
    free = st.lists(st.integers(0, 2) | token, max_size=max_size)
    unit = st.lists(token, min_size=1, max_size=7)
    return free | st.builds(lambda unit, times: (unit * times)[:max_size], unit, st.integers(1, 30))


def banned_by(ban: NgramBan, history: OutputHistory, rows: list[int]) -> list[set[int]]:
    """What the ban sets to minus infinity, for the slots of a batch's rows. Other logits must stay."""
    logits = torch.randn(len(rows), VOCABULARY)
    before = logits.clone()
    slots = torch.tensor(rows)
    ban.apply(logits, history.tokens, slots, history.ends[slots], history.ends[slots])
    is_banned = torch.isinf(logits)
    assert torch.equal(logits[~is_banned], before[~is_banned])
    return [set(row.nonzero().flatten().tolist()) for row in is_banned]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.none() | rules(), outputs()), min_size=1, max_size=6), st.randoms())
def test_a_batch_is_banned_what_each_request_alone_would_be(
    requests: list[tuple[NgramRule | None, list[int]]], random: object
) -> None:
    ban, history = NgramBan(8, CPU), OutputHistory(8, CPU)
    for slot, (rule, _) in enumerate(requests):
        ban.set_rule(slot, rule)
    history.follow({slot: output for slot, (_, output) in enumerate(requests)})
    history.catch_up()
    rows = list(range(len(requests)))
    random.shuffle(rows)  # type: ignore[attr-defined]
    expected = [banned_tokens(requests[slot][1], requests[slot][0]) for slot in rows]
    assert banned_by(ban, history, [*rows, 8]) == [*expected, set()], "the last row has no request"


@settings(max_examples=100, deadline=None)
@given(rules(), st.lists(outputs(6), min_size=1, max_size=12))
def test_a_growing_output_is_followed(rule: NgramRule, growth: list[list[int]]) -> None:
    """By none, one or several tokens between two steps."""
    ban, history = NgramBan(1, CPU), OutputHistory(1, CPU)
    ban.set_rule(0, rule)
    output: list[int] = []
    history.follow({0: output})
    for tokens in growth:
        output.extend(tokens)
        history.catch_up()
        assert banned_by(ban, history, [0]) == [banned_tokens(output, rule)]


@settings(max_examples=25, deadline=None)
@given(st.integers(LARGEST_WINDOW - 40, 2 * LARGEST_WINDOW + 40), st.integers(-1, 1), st.integers(0, 2))
def test_the_edge_of_the_largest_window(num_before: int, shift: int, size: int) -> None:
    """A repeated n-gram just inside, just at and just outside the window, wherever the ring wraps round."""
    rule = NgramRule(2 + size, LARGEST_WINDOW)
    gram = [5] * rule.ngram_size
    filler = [(7 * i) % 5 for i in range(3 * LARGEST_WINDOW)]
    middle = LARGEST_WINDOW - 2 * rule.ngram_size + 1 + shift
    output = filler[:num_before] + gram + filler[:middle] + gram[:-1]
    ban, history = NgramBan(1, CPU), OutputHistory(1, CPU)
    ban.set_rule(0, rule)
    history.follow({0: output})
    history.catch_up()
    expected = banned_tokens(output, rule)
    assert (5 in expected) == (shift <= 0)
    assert banned_by(ban, history, [0]) == [expected]


def test_tokens_taken_back_are_forgotten() -> None:
    rule = NgramRule(2, 24)
    ban, history = NgramBan(1, CPU), OutputHistory(1, CPU)
    ban.set_rule(0, rule)
    output = [0, 1, 2, 0, 1, 3, 4]
    history.follow({0: output})
    history.catch_up()
    del output[3:]
    history.catch_up()
    assert banned_by(ban, history, [0]) == [set()]
    output += [2, 0]
    history.catch_up()
    assert banned_by(ban, history, [0]) == [{1}]


def test_a_token_not_known_yet_bans_nothing_and_is_read_when_known() -> None:
    rule = NgramRule(2, 24)
    ban, history = NgramBan(1, CPU), OutputHistory(1, CPU)
    ban.set_rule(0, rule)
    output = [0, -1, 1, -1]
    history.follow({0: output})
    history.catch_up()
    assert banned_by(ban, history, [0]) == [set()]
    output[1], output[3] = 4, 0
    history.catch_up()
    assert banned_by(ban, history, [0]) == [{4}]
    output.append(-1)
    history.catch_up()
    output[-1] = 1
    history.catch_up()
    assert banned_by(ban, history, [0]) == [{0}]


def test_a_slot_used_again_knows_nothing_of_the_last_request() -> None:
    ban, history = NgramBan(2, CPU), OutputHistory(2, CPU)
    ban.set_rule(0, NgramRule(2, 24))
    history.follow({0: [0, 1, 2, 0]})
    history.catch_up()
    assert banned_by(ban, history, [0]) == [{1}]
    history.follow({0: [0]})
    history.catch_up()
    assert banned_by(ban, history, [0]) == [set()]
    ban.set_rule(0, None)
    assert ban.is_idle


def test_half_precision_logits_and_strides_are_taken() -> None:
    """A vocabulary that was padded for the matrix product comes as a slice."""
    ban, history = NgramBan(1, CPU), OutputHistory(1, CPU)
    ban.set_rule(0, NgramRule(2, 24))
    history.follow({0: [0, 1, 0]})
    history.catch_up()
    padded = torch.zeros(1, 16, dtype=torch.bfloat16)
    slots = torch.tensor([0])
    ban.apply(padded[:, :VOCABULARY], history.tokens, slots, history.ends[slots], history.ends[slots])
    assert padded.isinf().nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("extra_args", "expected"),
    [
        (None, None),
        ({}, None),
        ({"window_size": 90}, None),
        ({"ngram_size": 30, "window_size": 90}, NgramRule(30, 90)),
        ({"ngram_size": 30}, NgramRule(30, 100)),
        (NgramRule(20, 50, (128821, 128822)).extra_args(), NgramRule(20, 50, (128821, 128822))),
    ],
)
def test_a_request_names_its_rule(extra_args: dict[str, object] | None, expected: NgramRule | None) -> None:
    assert rule_of(extra_args) == expected


@pytest.mark.parametrize(
    ("extra_args", "message"),
    [
        ({"ngram_size": "30"}, "ngram_size must be an integer"),
        ({"ngram_size": True}, "ngram_size must be an integer"),
        ({"ngram_size": 1}, "2 <= ngram_size"),
        ({"ngram_size": 30, "window_size": 20}, "ngram_size 30 and window_size 20"),
        ({"ngram_size": 30, "window_size": 5000}, "<= 1024"),
        ({"ngram_size": 30, "window_size": 90.0}, "window_size must be an integer"),
        ({"ngram_size": 30, "whitelist_token_ids": "12"}, "whitelist_token_ids must be a list"),
        ({"ngram_size": 30, "whitelist_token_ids": [-1]}, "negative"),
        ({"ngram_size": 30, "whitelist_token_ids": ["1"]}, "whitelist_token_ids must be an integer"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(extra_args: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule_of(extra_args)
