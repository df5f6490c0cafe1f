"""The scaler's invariants (numbered in kube/scaler.py), its limits, its fallbacks and its words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from taskmill import constants as c
from taskmill.kube.scale import demand, erlang, windows
from taskmill.kube.scale.arrivals import Rates, observe
from taskmill.kube.scale.decide import (
    ActiveReason,
    Decision,
    Inputs,
    Limit,
    Memory,
    Pods,
    ScalingSpec,
    choose_victims,
    decide,
    horizon_s,
    track,
)
from taskmill.kube.scale.demand import Term

START = datetime(2026, 1, 1, tzinfo=UTC)
TICK = c.OPERATOR_TICK_S


@dataclass(frozen=True)
class Load:
    ready: int = 0
    running: int = 0
    due_soon: int = 0
    oldest_wait_s: float = 0.0
    finished: int = 0
    at: datetime = START


def inputs(load: Load | None, pods: Pods | None = None, now: float = 0.0, **more: Any) -> Inputs:
    return Inputs(now=now, load=load, pods=pods or Pods(), concurrency=more.pop("concurrency", 10), **more)


def at(now: float, **counts: Any) -> Load:
    return Load(at=START + timedelta(seconds=now), **counts)


class Operator:
    """Carries memory and pods from tick to tick; pods are ready at once."""

    def __init__(self, spec: ScalingSpec | None = None, pods: int = 0) -> None:
        self.spec, self.pods, self.memory, self.now = spec or ScalingSpec(), Pods(ready=pods), Memory(), 0.0

    def tick(self, load: Load | None = None, *, after: float = TICK, **more: Any) -> Decision:
        self.now += after
        known = None if load is None else replace(load, at=START + timedelta(seconds=self.now))
        decision = decide(inputs(known, self.pods, self.now, **more), self.spec, self.memory)
        self.memory, self.pods = decision.memory, Pods(ready=decision.pods)
        return decision


loads = st.builds(
    Load, ready=st.integers(0, 5_000), running=st.integers(0, 500), due_soon=st.integers(0, 2_000),
    oldest_wait_s=st.floats(0, 600), finished=st.integers(0, 10_000),
)  # fmt: skip
counts = st.builds(Pods, ready=st.integers(0, 60), starting=st.integers(0, 20), draining=st.integers(0, 20))


@st.composite
def specs(draw: st.DrawFn) -> ScalingSpec:
    low = draw(st.integers(0, 20))
    return ScalingSpec(
        min_replicas=low, max_replicas=draw(st.integers(max(1, low), 50)), start_latency_s=draw(st.floats(1, 600)),
        percentile=draw(st.integers(50, 99)), max_utilization=draw(st.integers(10, 100)), prewarm=draw(st.booleans()),
        scale_up_max_pods=draw(st.none() | st.integers(1, 5)), scale_down_max_pods=draw(st.none() | st.integers(1, 5)),
        fallback_behavior=draw(st.sampled_from(["Hold", "Static", "StaticIfHigher"])),
        fallback_replicas=draw(st.none() | st.integers(0, 60)),
    )  # fmt: skip


# ── 不变量 ──
@settings(max_examples=60, deadline=None)  # 机器忙时单个例子会慢
@given(spec=specs(), history=st.lists(st.tuples(st.none() | loads, counts), min_size=1, max_size=12))
def test_1_always_between_min_and_max(spec: ScalingSpec, history: list[tuple[Load | None, Pods]]) -> None:
    memory, now = Memory(), 0.0
    for load, pods in history:
        now += TICK
        known = None if load is None else replace(load, at=START + timedelta(seconds=now))
        decision = decide(inputs(known, pods, now), spec, memory)
        memory = decision.memory
        assert spec.min_replicas <= decision.pods <= spec.max_replicas


@settings(max_examples=60, deadline=None)  # 机器忙时单个例子会慢
@given(spec=specs(), pods=counts, before=st.lists(loads, max_size=5), failures=st.integers(1, 5))
def test_2_unknown_data_never_lowers(spec: ScalingSpec, pods: Pods, before: list[Load], failures: int) -> None:
    if spec.fallback_behavior == "Static":
        spec = replace(spec, fallback_behavior="Hold")
    operator = Operator(spec)
    for load in before:
        operator.tick(load)
    operator.pods = pods
    for _ in range(failures):
        assert operator.tick(None).pods >= min(pods.serving, spec.max_replicas)


@settings(max_examples=60, deadline=None)  # 机器忙时单个例子会慢
@given(spec=specs(), pods=counts, load=loads, memory_loads=st.lists(loads, max_size=4), more=st.integers(1, 1_000))
def test_3_more_ready_tasks_never_mean_fewer_pods(
    spec: ScalingSpec, pods: Pods, load: Load, memory_loads: list[Load], more: int
) -> None:
    operator = Operator(spec)
    for past in memory_loads:
        operator.tick(past)
    now = operator.now + TICK
    fewer, many = (
        decide(inputs(replace(load, ready=ready, at=START + timedelta(seconds=now)), pods, now), spec, operator.memory).pods
        for ready in (load.ready, load.ready + more)
    )
    assert many >= fewer


@settings(max_examples=40, deadline=None)
@given(per_tick=st.integers(0, 100), busy=st.integers(1, 500), concurrency=st.integers(1, 50), latency=st.floats(1, 300))
def test_4_a_constant_load_settles_on_one_number(per_tick: int, busy: int, concurrency: int, latency: float) -> None:
    assume(busy * TICK <= 100 * max(per_tick, busy * (per_tick == 0)))  # 任务若比观察期还长，估计自然仍在变
    operator = Operator(ScalingSpec(max_replicas=5_000, start_latency_s=latency))
    for step in range(800):
        last = operator.tick(Load(running=busy, finished=per_tick * step), concurrency=concurrency, boot_s=20).pods
        if step == 700:
            settled = last
    # 平均值（一千个任务）无限接近而不到：恰在进位处时会差一，Pod 多时差百分之二以内
    assert abs(last - settled) <= max(1, settled / 50)


def test_5_from_zero_straight_to_n() -> None:
    decision = Operator().tick(Load(ready=75, oldest_wait_s=2))
    assert (decision.pods, decision.term) == (8, Term.BACKLOG)


# ── 各项 ──
def test_timers_start_pods_before_they_are_due_unless_prewarm_is_off() -> None:
    assert Operator().tick(Load(due_soon=60)).term is Term.TIMERS
    assert Operator(ScalingSpec(prewarm=False)).tick(Load(due_soon=60)).pods == 0


def test_an_objective_shorter_than_a_boot_keeps_spare_slots() -> None:
    def settled(latency: float) -> Decision:
        operator = Operator(ScalingSpec(max_replicas=40, start_latency_s=latency))
        for step in range(100):
            decision = operator.tick(Load(running=12, finished=step), concurrency=1)
        return decision

    assert settled(5).term is Term.FLOOR
    assert settled(5).pods > settled(300).pods


def test_slots_at_hand_that_suffice_order_nothing() -> None:
    operator = Operator(pods=2)
    for step in range(30):
        operator.tick(Load(running=15, finished=10 * step))
    assert operator.tick(Load(ready=15, running=20, oldest_wait_s=0.5, finished=300)).pods == 2


def test_starting_pods_are_not_ordered_twice() -> None:
    operator = Operator()
    first = operator.tick(Load(ready=60, oldest_wait_s=1)).pods
    operator.pods = Pods(starting=first)
    assert operator.tick(Load(ready=60, oldest_wait_s=6)).pods == first


def test_tasks_on_draining_pods_need_no_slot() -> None:
    load = at(5, running=40)
    busy = decide(inputs(load, Pods(ready=4), 5), ScalingSpec(), Memory(decided=((0, 4),), last_active=0.0))
    leaving = Pods(ready=4, draining=4, draining_running=40)
    free = decide(inputs(load, leaving, 5), ScalingSpec(), Memory(decided=((0, 4),), last_active=0.0))
    assert free.pods < busy.pods


# ── 时间 ──
def test_idle_goes_to_the_minimum_only_after_idle_seconds() -> None:
    operator = Operator(ScalingSpec(idle_s=100, scale_down_stabilization_s=0))
    operator.tick(Load(running=1))
    seen = [operator.tick(Load()).pods for _ in range(25)]
    assert (seen[0], seen[-1], seen.count(1)) == (1, 0, 19)


def test_a_restarted_operator_holds_for_one_window() -> None:
    operator = Operator(ScalingSpec(scale_down_stabilization_s=60), pods=9)
    decisions = [operator.tick(Load(running=10)) for _ in range(14)]
    assert [decision.pods for decision in decisions[:12]] == [9] * 12
    assert decisions[0].term is Term.STABILIZATION
    assert decisions[-1].pods == 1


def test_a_load_that_comes_and_goes_never_lowers_within_the_window() -> None:
    operator = Operator()
    seen = [operator.tick(Load(ready=80 * (step % 2), running=1, oldest_wait_s=1)).pods for step in range(1, 20)]
    assert seen == sorted(seen)


# ── 界限 ──
@pytest.mark.parametrize(
    ("limit", "spec", "more"),
    [
        (Limit.NOT_LIMITED, ScalingSpec(max_replicas=50), {}),
        (Limit.MAX_REPLICAS, ScalingSpec(max_replicas=3), {}),
        (Limit.MIN_REPLICAS, ScalingSpec(min_replicas=30, max_replicas=50), {}),
        (Limit.RATE_LIMITED, ScalingSpec(max_replicas=50, scale_up_max_pods=2), {}),
        (Limit.DATABASE_CONNECTIONS, ScalingSpec(max_replicas=50, database_connections=60),
         {"connections_per_pod": 17, "connections_used": 9}),
        (Limit.QUOTA_EXCEEDED, ScalingSpec(max_replicas=50), {"quota_pods": 4}),
    ],
)  # fmt: skip
def test_every_limit_is_told(limit: Limit, spec: ScalingSpec, more: dict[str, Any]) -> None:
    decision = Operator(spec).tick(Load(ready=100, oldest_wait_s=1), **more)
    expected = {"NotLimited": 10, "MaxReplicas": 3, "MinReplicas": 30, "RateLimited": 2, "DatabaseConnections": 3,
                "QuotaExceeded": 4}  # fmt: skip
    assert (decision.limited_by, decision.pods) == (limit, expected[limit.value])
    assert (limit.value in decision.explanation) == (limit is not Limit.NOT_LIMITED)


def test_the_list_of_limits_is_whole() -> None:
    reachable = {"NotLimited", "MaxReplicas", "MinReplicas", "RateLimited", "DatabaseConnections", "QuotaExceeded"}
    assert {limit.value for limit in Limit} == reachable


def test_a_budget_may_cap_below_the_minimum() -> None:
    spec = ScalingSpec(min_replicas=5, database_connections=34)
    decision = Operator(spec).tick(Load(ready=10), connections_per_pod=17)
    assert (decision.pods, decision.limited_by) == (2, Limit.DATABASE_CONNECTIONS)


def test_growth_per_period_is_counted_from_its_lowest() -> None:
    operator = Operator(ScalingSpec(max_replicas=50, scale_up_max_pods=4, scale_up_period_s=15))
    seen = [operator.tick(Load(ready=400, oldest_wait_s=1)).pods for _ in range(7)]
    assert seen == [4, 4, 4, 8, 8, 8, 12]


def test_shrinking_per_period_is_counted_from_its_highest() -> None:
    spec = ScalingSpec(max_replicas=50, scale_down_max_pods=3, scale_down_period_s=10, scale_down_stabilization_s=0)
    operator = Operator(spec, pods=10)
    seen = [operator.tick(Load(running=5)) for _ in range(7)]
    assert [decision.pods for decision in seen] == [7, 7, 4, 4, 1, 1, 1]
    assert seen[0].limited_by is Limit.RATE_LIMITED


@settings(max_examples=60, deadline=None)  # 机器忙时单个例子会慢
@given(ready=st.integers(1, 100_000), size=st.integers(1, 100))
def test_a_burst_stays_within_the_budget(ready: int, size: int) -> None:
    spec = ScalingSpec(max_replicas=5_000, database_connections=200)
    decision = Operator(spec).tick(Load(ready=ready, oldest_wait_s=1), concurrency=size, connections_per_pod=17)
    assert decision.pods * 17 <= 200


# ── 没有数字时 ──
@pytest.mark.parametrize(
    ("behavior", "pods", "expected"),
    [("Hold", 0, 0), ("Hold", 6, 6), ("Static", 0, 4), ("Static", 6, 4), ("StaticIfHigher", 0, 4), ("StaticIfHigher", 6, 6)],
)
def test_fallback_after_the_threshold_also_from_zero(behavior: Any, pods: int, expected: int) -> None:
    spec = ScalingSpec(fallback_behavior=behavior, fallback_replicas=4, scale_down_stabilization_s=0)
    operator = Operator(spec, pods=pods)
    early = [operator.tick(None) for _ in range(2)]
    assert [(one.pods, one.reason) for one in early] == [(pods, ActiveReason.METRICS_STALE)] * 2
    late = operator.tick(None)
    assert late.pods == expected
    assert late.reason is (ActiveReason.METRICS_STALE if behavior == "Hold" else ActiveReason.FALLBACK_ACTIVE)
    assert operator.tick(Load(running=1)).reason is ActiveReason.COMPUTING
    assert operator.memory.failures == 0


def test_a_crashed_pod_is_replaced_while_blind() -> None:
    operator = Operator(pods=5)
    operator.tick(Load(running=40))
    operator.pods = Pods(ready=3)
    assert operator.tick(None).pods == 5


# ── 模式 ──
@pytest.mark.parametrize(
    ("spec", "suspended", "reason"),
    [
        (ScalingSpec(dry_run=True), False, ActiveReason.DRY_RUN),
        (ScalingSpec(mode="Manual"), False, ActiveReason.MANUAL),
        (ScalingSpec(mode="External"), False, ActiveReason.EXTERNAL),
        (ScalingSpec(), True, ActiveReason.SUSPENDED),
    ],
)
def test_passive_modes_publish_and_leave_the_pods(spec: ScalingSpec, suspended: bool, reason: ActiveReason) -> None:
    decision = Operator(spec, pods=2).tick(Load(ready=60, oldest_wait_s=1), suspended=suspended)
    assert (decision.pods, decision.recommended, decision.reason) == (2, 6, reason)
    assert reason.value in decision.explanation


def test_the_explanation_has_the_numbers() -> None:
    words = Operator().tick(Load(ready=75, oldest_wait_s=2, due_soon=3)).explanation
    assert words.startswith("8 pods: backlog asks for 75.0 slots of 10 a pod: 75 ready (oldest 2 s), 0 running, 3 due soon")
    assert "\n" not in words


# ── 计数 ──
def test_arrivals_and_run_time_come_from_counters() -> None:
    rates = Rates()
    for step in range(200):  # 每秒 4 个，各跑 2.5 秒：平均占 10 个槽
        rates = observe(at(5 * step, running=10, finished=20 * step), rates, 100)
    assert rates.arrivals(0) == pytest.approx(4, rel=0.02)
    assert rates.service_s == pytest.approx(2.5, rel=0.02)


def test_tasks_that_have_not_finished_raise_the_run_time() -> None:
    rates = Rates()
    for step in range(100):
        rates = observe(at(5 * step, running=10), rates, 100)
    assert rates.service_s > 200


def test_prefetched_tasks_are_not_counted_as_busy() -> None:
    rates = Rates()
    for step in range(200):  # 10 个槽，running 里另有 50 个预取的；每秒完成 100 个
        rates = observe(at(5 * step, running=60, finished=500 * step), rates, 10)
    assert rates.service_s == pytest.approx(0.1, rel=0.05)


def test_a_change_to_longer_tasks_is_seen_while_tasks_wait() -> None:
    rates = Rates()
    for step in range(100):
        rates = observe(at(5 * step, running=10, finished=50 * step), rates, 10)
    for step in range(12):  # 一分钟里什么也没跑完
        rates = observe(at(500 + 5 * step, running=10, ready=50, finished=4_950), rates, 10)
    assert rates.pessimistic_s(30) > 5 * rates.service_s
    assert rates.pessimistic_s(0) == rates.service_s


@pytest.mark.parametrize(
    "later", [at(10, ready=500, finished=3), at(-5, ready=500, finished=60), at(5, ready=500, finished=60)],
    ids=["counter back", "clock back", "clock stands"],
)  # fmt: skip
def test_what_went_backwards_is_discarded(later: Load) -> None:
    rates = observe(at(5, finished=60), observe(at(0, finished=40), Rates(), 10), 10)
    after = observe(later, rates, 10)
    assert (after.fast, after.slow, after.usual) == (rates.fast, rates.slow, rates.usual)


def test_track_and_horizon() -> None:
    memory = track(at(0), Memory(boot_s=12), 10)
    assert memory.rates.last is not None
    assert horizon_s(memory) == 12 + TICK
    assert decide(inputs(at(5), boot_s=40), ScalingSpec(), memory).memory.boot_s == 40


# ── 小零件 ──
def test_victims_are_idle_first_then_the_newest() -> None:
    workers = [SimpleNamespace(name=name, running=running, started_at=START + timedelta(seconds=age))
               for name, running, age in [("busy", 5, 0), ("old", 0, 1), ("new", 0, 9), ("less", 1, 3)]]  # fmt: skip
    assert [worker.name for worker in choose_victims(workers, 3)] == ["new", "old", "less"]
    assert choose_victims(workers, -1) == []


def test_erlang_c_agrees_with_the_tables() -> None:
    assert erlang.waits_longer(10, 8, 0, 1) == pytest.approx(0.4092, abs=1e-3)  # 教科书：C(10, 8)
    assert erlang.waits_longer(5, 5, 10, 1) == 1.0
    assert erlang.slots_for(8, 0, 1, 0.05, 100) == 14
    assert erlang.slots_for(8, 0, 1, 0.05, 9) == 9


def test_windows_keep_what_was_in_force_at_their_start() -> None:
    points: windows.Points = ()
    for moment, value in [(0, 5), (10, 5), (20, 2), (50, 3)]:
        points = windows.extend(points, moment, value, 40)
    assert points == ((0, 5), (20, 2), (50, 3))
    assert windows.since(points, 10) == [5, 2, 3]
    assert windows.since(points, 20) == [2, 3]
    assert windows.extend(points, 65, 3, 40) == ((20, 2), (50, 3))


def test_how_long_is_waiting_depends_on_how_often_one_looks() -> None:
    """A task that came since the last look has not waited: only then does the quick average count."""
    often, seldom = Rates(fast=9.0, slow=1.0, tick_s=1.0), Rates(fast=9.0, slow=1.0, tick_s=20.0)
    assert (often.arrivals(6.0), seldom.arrivals(6.0), seldom.arrivals(11.0)) == (9.0, 1.0, 9.0)
    assert observe(at(5), often, 1).tick_s == 1.0


def test_who_looks_less_often_orders_earlier() -> None:
    work = {
        "ready": 0, "running": 0, "due_soon": 0, "oldest_s": 0.0, "arrivals": 2.0, "service_s": 1.0, "service_known": True,
        "latency_s": 20.0, "late": 0.05, "utilization": 0.9, "slots": 0, "starting": 0, "boot_s": 10.0, "starting_s": 0.0,
        "limit": 100,
    }  # fmt: skip
    assert demand.floor(demand.Work(**work, tick_s=5.0)) == 0.0  # 缺了再要也来得及
    assert demand.floor(demand.Work(**work, tick_s=15.0)) > 0.0
