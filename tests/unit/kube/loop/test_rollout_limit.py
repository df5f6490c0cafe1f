"""Turns of rollouts: at most so many at a time, and a turn that somebody does not need goes on to the next."""

from __future__ import annotations

from taskmill.kube.apiserver.keys import Key
from taskmill.kube.loop.rollout_limit import Rollouts
from taskmill.kube.state import Options

OPTIONS = Options("", 8801, "op")
A, B, IDLE, LATE = (Key.queue("ns", name) for name in ("a", "b", "idle", "late"))


def test_a_turn_that_is_not_needed_goes_on_to_the_next() -> None:
    woken: list[Key] = []
    rollouts = Rollouts(1, woken.append)
    assert rollouts.options(A, OPTIONS).may_start_rollout
    rollouts.note(A, rolling=True)
    for key in (IDLE, LATE):
        assert not rollouts.options(key, OPTIONS).may_start_rollout
        rollouts.note(key, rolling=False)
    assert woken == []
    rollouts.note(A, rolling=False)
    assert woken == [IDLE]  # 它那一轮碰巧没轮上，其实没什么要换
    assert rollouts.options(IDLE, OPTIONS).may_start_rollout
    rollouts.note(IDLE, rolling=False)
    assert woken == [IDLE, LATE]
    assert rollouts.options(LATE, OPTIONS).may_start_rollout
    rollouts.note(LATE, rolling=True)
    assert not rollouts.options(B, OPTIONS).may_start_rollout


def test_who_is_gone_gives_its_turn_back() -> None:
    woken: list[Key] = []
    rollouts = Rollouts(1, woken.append)
    rollouts.note(A, rolling=True)
    rollouts.options(B, OPTIONS)
    rollouts.forget(A)
    assert woken == [B]
