"""The drain protocol, case by case; the property test has the interleavings."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskmill.kube.crd.task_queue import Drain
from taskmill.kube.plan import drain, rollout
from taskmill.kube.plan.pod_workers import Stage, count_pods, pod_workers
from taskmill.kube.plan.rollout import Rollout
from taskmill.kube.scale.decide import Pods
from taskmill.kube.state import Action, DeletionCost, Manifest, OrderWorkers, Scale
from taskmill.services.fleet import Order, WorkerFact
from tests.unit.kube.objects import NOW, at, live, pod, replica_set, state, worker

DEPLOYMENT: Manifest = {
    "metadata": {"name": "d", "labels": {}},
    "spec": {"template": {"metadata": {"annotations": {"taskmill.dev/config-hash": "c"}}}},
}
MARKED = {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1000"}}


def at_rest(replicas: int, ready: int | None = None, **changes: Any) -> Rollout:
    deployment = live(DEPLOYMENT, replicas=replicas)
    up = replicas if ready is None else ready
    found = rollout.read(deployment, [replica_set(deployment, ready=up, replicas=replicas)])
    return replace(found, **changes)


def working(name: str, *, running: int = 0, **changes: Any) -> tuple[Manifest, WorkerFact]:
    return pod(name), worker(name, running=running, **changes)


def leaving(name: str, *, running: int = 1, ready: bool = True, **metadata: Any) -> tuple[Manifest, WorkerFact]:
    return pod(name, ready=ready, metadata=metadata), worker(
        name, running=running, order=Order.DRAIN, token=7, ready=running > 0
    )


def gone(name: str) -> tuple[Manifest, WorkerFact]:
    return leaving(name, running=0, ready=False, **MARKED)


def pending(name: str) -> tuple[Manifest, None]:
    return pod(name, phase="Pending", ready=False), None


def act(
    *pairs: tuple[Manifest, WorkerFact | None],
    desired: int,
    at_: Rollout | None = None,
    how: Drain | None = None,
    told: float = 0.0,
    known: bool = True,
) -> list[Action]:
    workers = tuple(each for _, each in pairs if each is not None)
    since = {each.pod_uid: NOW - timedelta(seconds=told) for each in workers if each.order is Order.DRAIN}
    found = pod_workers(state(pods=tuple(each for each, _ in pairs), workers=workers, drain_since=since), how or Drain())
    here = at_ or at_rest(len(pairs), sum(each.ready for each in found))
    return list(drain.step("d", found, here, desired, known=known))


def uids(*names: str) -> tuple[str, ...]:
    return tuple(f"uid-{name}" for name in names)


def test_the_idle_then_the_least_busy_then_the_newest_are_chosen() -> None:
    pods = [working("a", running=2), working("b", started=-10), working("c", started=-20), working("d", running=1)]
    assert act(*pods, desired=3) == [OrderWorkers(uids("b"), Order.DRAIN)]
    assert act(*pods, desired=1) == [OrderWorkers(uids("b", "c", "d"), Order.DRAIN)]


def test_a_worker_that_has_not_obeyed_its_last_order_is_not_told_again() -> None:
    assert act(working("a", running=9), working("b", token=7, seen=-1), desired=1) == [OrderWorkers(uids("a"), Order.DRAIN)]


def test_finished_pods_are_marked_then_awaited_then_go() -> None:
    stay = working("a", running=1)
    finished = leaving("b", running=0)
    assert act(stay, finished, desired=1) == [DeletionCost("b", -1000)]
    marked = leaving("b", running=0, **MARKED)
    assert act(stay, marked, desired=1) == []  # 还就绪
    assert act(stay, gone("b"), desired=1, at_=at_rest(2, ready=2)) == []  # 控制器还没看到
    assert [type(each) for each in act(stay, gone("b"), desired=1)] == [Scale]
    assert act(stay, gone("b"), desired=1)[0].replicas == 1  # type: ignore[union-attr]


def test_a_pod_that_runs_tasks_is_never_marked() -> None:
    assert act(working("a"), leaving("b", running=3), desired=1) == []


@pytest.mark.parametrize("changes", [{"busy": True}, {"newest": None}])
def test_never_lower_while_a_rollout_runs(changes: dict[str, Any]) -> None:
    assert act(working("a", running=1), gone("b"), desired=1, at_=at_rest(2, 1, **changes)) == []
    assert act(working("a"), working("b"), desired=1, at_=at_rest(2, busy=True)) == []


def test_with_nothing_to_lose_a_rollout_does_not_matter() -> None:
    busy = at_rest(2, busy=True, rolling=True)
    assert act(leaving("a", running=0), pending("b"), desired=0, at_=busy) == [Scale("d", 0, "所有工作进程都已收尾")]
    assert act(working("a"), pending("b"), desired=0, at_=busy) == [OrderWorkers(uids("a"), Order.DRAIN)]


def test_pods_we_do_not_see_are_something_to_lose() -> None:
    assert act(leaving("a", running=0), desired=0, at_=at_rest(3, 3)) == [DeletionCost("a", -1000)]


def test_a_pod_just_ready_could_hide_a_victim() -> None:
    fresh = working("a", running=1)
    fresh[0]["status"]["conditions"][0]["lastTransitionTime"] = at(-1)
    assert act(fresh, gone("b"), desired=1) == []


def test_a_pod_taken_back_is_waited_for() -> None:
    back = pod("a", ready=False), worker("a", token=8)
    assert act(back, working("c"), gone("b"), desired=2) == []
    marked = pod("a", metadata=MARKED), worker("a", token=8)
    assert act(marked, working("c"), gone("b"), desired=2) == [DeletionCost("a", None)]


def test_pending_pods_go_first_without_any_order() -> None:
    assert act(working("a", running=1), pending("b"), desired=1) == [Scale("d", 1, "还没起来的工作进程不需要了")]
    assert act(working("a"), working("b", started=-10), pending("c"), desired=1) == [
        OrderWorkers(uids("b"), Order.DRAIN), Scale("d", 2, "还没起来的工作进程不需要了"),
    ]  # fmt: skip


def test_no_more_are_lowered_than_were_drained() -> None:
    lowered = act(working("a"), working("c"), gone("b"), pending("x"), desired=2)
    assert lowered == [Scale("d", 3, "已收尾的工作进程可以走了")]  # 先死的是 x；b 留在账上


def test_what_is_paid_is_not_paid_twice() -> None:
    assert act(working("a"), gone("b"), desired=1, at_=at_rest(1, 1)) == []


def test_demand_takes_back_before_it_creates() -> None:
    found = act(working("a"), gone("b"), leaving("c", running=2), desired=2)
    assert found == [OrderWorkers(uids("c"), Order.RUN)]
    found = act(working("a"), gone("b"), leaving("c", running=2), desired=5)
    assert found == [OrderWorkers(uids("b", "c"), Order.RUN), DeletionCost("b", None), Scale("d", 5, "需要更多工作进程")]


def test_a_pod_whose_end_is_ordered_is_not_taken_back() -> None:
    found = act(working("a"), gone("b"), gone("c"), desired=3, at_=at_rest(2, 1))
    assert found == [Scale("d", 4, "需要更多工作进程")]


@pytest.mark.parametrize(
    ("told", "on_timeout", "actions"),
    [
        (599, "Requeue", []),
        (600, "Requeue", [DeletionCost("b", -1000)]),
        (9999, "KeepWaiting", []),
    ],
)
def test_time_limits(told: float, on_timeout: Any, actions: list[Action]) -> None:
    how = Drain(on_timeout=on_timeout)
    assert act(working("a"), leaving("b", running=3), desired=1, how=how, told=told) == actions


@pytest.mark.parametrize(("told", "lowered"), [(601, False), (604, True)])
def test_an_expired_pod_goes_once_its_mark_has_settled(told: float, lowered: bool) -> None:
    found = act(working("a"), leaving("b", running=3, **MARKED), desired=1, told=told)
    assert bool(found) is lowered


def test_unknown_workers_only_grow() -> None:
    assert act((pod("a"), None), (pod("b"), None), desired=1, known=False) == []
    assert act((pod("a"), None), desired=3, known=False) == [Scale("d", 3, "数据库不可用，只增不减")]


@pytest.mark.parametrize(
    ("made", "stage"),
    [
        (pod("a", phase="Pending", ready=False), Stage.HARMLESS),
        (pod("a", ready=False, container={"state": {"waiting": {"reason": "CrashLoopBackOff"}}}), Stage.HARMLESS),
        (pod("a", ready=False, started=-5), Stage.STARTING),
        (pod("a", ready=False, started=-500), Stage.HARMLESS),
        (pod("a"), Stage.STARTING),
    ],
)
def test_pods_without_a_worker(made: Manifest, stage: Stage) -> None:
    (only,) = pod_workers(state(pods=(made,)), Drain())
    assert (only.stage, only.running) == (stage, 0)
    assert act((made, None), desired=0, at_=at_rest(1, 0)) == (
        [] if stage is Stage.STARTING else [Scale("d", 0, "所有工作进程都已收尾")]
    )


def test_a_container_started_again_has_the_newest_worker() -> None:
    old = worker("a", running=5, started=-600)
    (only,) = pod_workers(state(pods=(pod("a"),), workers=(worker("a", started=-5), old)), Drain())
    assert only.running == 0


def test_counting_for_the_scaler() -> None:
    pods = (
        pod("a"),
        pod("b", ready=False),
        pod("c"),
        pod("x", metadata={"deletionTimestamp": at()}),
        pod("y", phase="Failed"),
    )
    workers = (worker("a"), worker("c", order=Order.DRAIN, running=2))
    counted = count_pods(state(pods=pods, workers=workers, deployment=live(DEPLOYMENT, replicas=4)))
    assert counted == Pods(ready=1, starting=2, draining=1, draining_running=2)
    assert count_pods(state()) == Pods()


# ── 滚动更新 ──


def read(*sets: Manifest, deployment: Manifest) -> Rollout:
    return rollout.read(deployment, sets)


def test_rollouts() -> None:
    deployment = live(DEPLOYMENT, replicas=2)
    newest = replica_set(deployment, ready=2, replicas=2, name="t2", revision=2)
    done = read(newest, replica_set(deployment, ready=0, replicas=0), deployment=deployment)
    assert (done.rolling, done.busy, done.newest_hash, done.settled(2), done.settled(1)) == (False, False, "t2", True, False)
    old = replica_set(deployment, ready=1, replicas=1)
    assert read(newest, old, deployment=deployment).rolling
    changed = copy.deepcopy(deployment)
    changed["spec"]["template"]["metadata"]["annotations"]["taskmill.dev/config-hash"] = "new"
    assert read(newest, deployment=changed).rolling
    assert not read(deployment=live(DEPLOYMENT, replicas=0)).rolling
    unseen = live(DEPLOYMENT, replicas=2, observedGeneration=0)
    assert (read(newest, deployment=unseen).rolling, read(newest, deployment=unseen).busy) == (False, True)
    paused = copy.deepcopy(deployment)
    paused["spec"]["paused"] = True
    assert read(newest, deployment=paused).busy


def test_a_replica_set_that_lags_is_not_settled() -> None:
    deployment = live(DEPLOYMENT, replicas=2)
    lagging = replica_set(deployment, ready=2, replicas=3)
    assert not read(lagging, deployment=deployment).settled(2)
    lagging = replica_set(deployment, ready=2, replicas=2)
    lagging["metadata"]["generation"] = 5
    assert not read(lagging, deployment=deployment).settled(2)


def test_refusals_are_read_from_the_replica_set_too() -> None:
    deployment = live(DEPLOYMENT, replicas=2)
    failing = replica_set(deployment, ready=0, replicas=2)
    failing["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]
    assert read(failing, deployment=deployment).refused == "exceeded quota"
