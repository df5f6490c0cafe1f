"""A step of the database's clock is told from a slow reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmill.engine.periodic.clock_watch import ClockWatch

HOUR = 3_600.0


@pytest.mark.parametrize(
    ("replies", "steps"),
    [
        ([(1_000, 0, 0), (1_001, 1, 1), (1_002, 2, 2)], [0, 0, 0]),
        ([(1_000, 0, 0), (1_001 + HOUR, 1, 1), (1_002 + HOUR, 2, 2)], [0, HOUR, 0]),
        ([(1_000, 0, 0), (1_001 - HOUR, 1, 1), (1_002 - HOUR, 2, 2)], [0, 0, 0]),
        ([(1_000, 0, 0), (1_005, 1, 1)], [0, 0]),
        ([(1_000, 0, 0), (1_006.5, 1, 1)], [0, 5.5]),
        ([(1_000, 0, 0), (1_009, 1, 9), (1_010, 10, 10)], [0, 0, 0]),
        ([(1_009, 0, 9), (1_010, 10, 10)], [0, 0]),
    ],
    ids=["none", "forward", "back", "at the limit", "beyond it", "a slow reply", "the first was slow"],
)
def test_only_a_step_forward_counts(replies: list[tuple[float, float, float]], steps: list[float]) -> None:
    watch = ClockWatch(5.0)
    assert [watch.look(*reply) for reply in replies] == steps
    assert watch.by_s == sum(steps)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30), st.floats(0, 1)), min_size=1, max_size=20), st.floats(-HOUR, HOUR)
)
def test_replies_of_any_slowness_never_make_a_step_up(waits: list[tuple[float, float, float]], ahead: float) -> None:
    watch, now = ClockWatch(0.001), 0.0
    for pause, latency, share in waits:
        now += pause
        assert watch.look(now + latency * share + ahead, now, now + latency) == 0.0
        now += latency
