"""Packed histograms: what is counted comes back, sums add up, and quantiles are wrong by the bound at most."""

from __future__ import annotations

import bisect
import math

from hypothesis import given
from hypothesis import strategies as st

from taskmill.stores.queues.histogram import BASE, BUCKETS, ERROR, counts, quantiles_ms

BOUNDS = [2 ** (k / 2) for k in range(BUCKETS)]
TIMES = st.lists(st.floats(0, 2**29.4), min_size=1, max_size=200)
EPSILON = 1e-9


def packed(times: list[float]) -> int:
    """What the database makes of times in milliseconds."""
    return sum(BASE ** bisect.bisect_right(BOUNDS, each) for each in times)


@given(TIMES, TIMES)
def test_histograms_add_up(first: list[float], second: list[float]) -> None:
    assert packed(first) + packed(second) == packed(first + second)
    assert sum(counts(str(packed(first)))) == len(first)


@given(TIMES, st.floats(0, 1))
def test_a_quantile_is_wrong_by_the_bound_at_most(times: list[float], quantile: float) -> None:
    exact = sorted(times)[max(1, math.ceil(quantile * len(times))) - 1]
    found = (quantiles_ms(str(packed(times)), [quantile]) or [])[0]
    assert abs(found - exact) <= (max(exact, found) * ERROR if exact >= 1 else 0.5) + EPSILON


def test_nothing_counted_has_no_quantiles() -> None:
    assert quantiles_ms("0", [0.5]) is None


def test_a_bucket_holds_more_than_a_week_of_anything_and_the_last_is_open() -> None:
    week = 7 * 86_400 * 100_000
    assert counts(str(week * BASE**3))[3] == week
    assert quantiles_ms(str(packed([2.0**40])), [1.0]) == [2 ** ((BUCKETS - 1) / 2 + 0.25)]
