"""How a read budget is shared among priorities and queues."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill import constants as c
from taskmill.engine.reader import shares
from taskmill.stores.broker.tickets import Lane

LANES: list[Lane] = [("q", priority) for priority in c.PRIORITIES]
TOTAL = sum(c.PRIORITY_WEIGHTS.values())
lanes = st.sets(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(c.PRIORITIES)), min_size=1).map(sorted)


@given(lanes=lanes, budgets=st.lists(st.integers(1, 500), min_size=1, max_size=40))
def test_the_parts_are_not_negative_and_add_up(lanes: list[Lane], budgets: list[int]) -> None:
    credit: dict[Lane, float] = {}
    for budget in budgets:
        counts = shares(budget, lanes, credit)
        assert sum(counts.values()) == budget
        assert min(counts.values()) >= 0
        assert set(counts) == set(lanes)


@given(budget=st.integers(1, 300))
def test_the_parts_converge_to_the_weights(budget: int) -> None:
    credit: dict[Lane, float] = {}
    got: Counter[Lane] = Counter()
    rounds = 600
    for _ in range(rounds):
        got.update(shares(budget, LANES, credit))
    for lane in LANES:
        assert got[lane] / (rounds * budget) == pytest.approx(c.PRIORITY_WEIGHTS[lane[1]] / TOTAL, abs=0.02)


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_low_priorities_never_starve_however_small_the_budget(budget: int) -> None:
    credit: dict[Lane, float] = {}
    seen = [shares(budget, LANES, credit)[LANES[-1]] for _ in range(200)]
    gaps = [n for n, count in enumerate(seen) if count]
    longest = max(b - a for a, b in zip([0, *gaps], [*gaps, len(seen)], strict=True))
    assert longest <= 2 * TOTAL / c.PRIORITY_WEIGHTS[4]
