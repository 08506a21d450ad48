"""The turns that kinds take, and the table; the kinds here do nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import KINDS, Resources, Skipped, rounds, soak, table


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    return Resources(tmp_path)


def fine(resources: Resources, seed: int) -> None:
    pass


def not_here(resources: Resources, seed: int) -> None:
    raise Skipped("there is no corpus")


class FailsFor:
    """A kind that fails for one seed, and is interrupted at another."""

    def __init__(self, seed: int, interrupted_at: int) -> None:
        self.seed, self.interrupted_at = seed, interrupted_at

    def __call__(self, resources: Resources, seed: int) -> None:
        assert seed != self.seed, "a page is lost"
        if seed == self.interrupted_at:
            raise KeyboardInterrupt


def test_kinds_take_turns_and_the_same_seed_gives_the_same_order() -> None:
    def first(number: int) -> list[tuple[str, int]]:
        return [turn for turn, _ in zip(rounds(["a", "b"], 7, minutes=60), range(number), strict=False)]

    assert first(5) == [("a", 7), ("b", 7), ("a", 8), ("b", 8), ("a", 9)] == first(5)


def test_no_minutes_are_one_round_of_each_kind() -> None:
    assert list(rounds(["a", "b", "c"], 3, minutes=0)) == [("a", 3), ("b", 3), ("c", 3)]


def test_no_round_begins_when_time_is_up() -> None:
    assert len(list(rounds(["a"], 0, minutes=1e-9))) <= 1


def test_a_failure_is_in_the_table_with_the_command_that_repeats_it(
    resources: Resources, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {"kills on Ray": FailsFor(17, interrupted_at=19), "storms": fine, "pages": not_here}
    done = soak(kinds, resources, seed=16, minutes=60)
    told = capsys.readouterr().out
    assert "a page is lost" in told and "interrupted" in told
    assert [(each.kind, each.seed) for each in done] == [(kind, seed) for seed in (16, 17, 18) for kind in kinds]
    lines = table(done).splitlines()
    assert [line.split()[0] for line in lines] == ["kind", "kills", "seed", "storms", "pages"]
    assert lines[1].removeprefix("kills on Ray").split()[:2] == ["3", "1"]
    assert lines[2].strip() == 'seed 17: make soak ONLY="kills on Ray" SEED=17 MINUTES=0'
    assert lines[3].removeprefix("storms").split()[:2] == ["3", "0"]
    assert lines[4].endswith("skipped: there is no corpus")


def test_every_kind_is_told_apart_by_its_name() -> None:
    assert len(set(KINDS.values())) == len(KINDS)
