"""Scaling in without interrupting anything: cordon, finish, delete; and taking it back when demand returns.

    WORKING ──order drain──▶ LEAVING ──obeyed, 0 tasks──▶ DONE ──marked, not ready, seen by the ReplicaSet──▶ /scale − n
       ▲                        │ timeout ▶ EXPIRED (Requeue) ──marked──────────────────────────────────────▶ /scale − n
       └────────order run───────┘

The ReplicaSet chooses the victims: unscheduled, pending, not ready, lowest deletion cost, newest. So `/scale` is only
lowered by pods that sort before every pod that works, once the controller has seen them so. Pending pods go first
whatever we mark: then fewer of ours die, they stay in the balance and are taken back or go next time.
Invariants, each held by a test: (1) never below what is wanted; (2) no busy pod dies unless its time is up;
(3) unknown workers never lower; (4) never lower while a rollout runs, unless no pod has anything to lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskmill.kube import constants as c
from taskmill.kube.plan.pod_workers import PodWorker, Stage, count_pods
from taskmill.kube.plan.rollout import Rollout
from taskmill.kube.scale.decide import choose_victims
from taskmill.kube.state import Action, DeletionCost, OrderWorkers, Scale
from taskmill.services.fleet import Order

__all__ = ["Balance", "balance", "count_pods", "is_over", "order_all", "step"]


@dataclass(frozen=True, slots=True)
class Balance:
    """The numbers behind a step. `replicas` is the Deployment's; `paid`: pods whose end is ordered but not yet seen."""

    replicas: int
    paid: int
    missing: int
    owing: int
    serving: int


def balance(pods: Sequence[PodWorker], replicas: int, total: int = 0) -> Balance:
    """Return the balance: how many pods serve, once those that leave are gone; `total` as the Deployment counts pods."""
    paid = max(0, len(pods) - replicas)
    owing = max(0, sum(pod.leaving for pod in pods) - paid)
    return Balance(replicas, paid, max(0, replicas - max(len(pods), total)), owing, replicas - owing)


def step(deployment: str, pods: Sequence[PodWorker], rollout: Rollout, desired: int, *, known: bool) -> tuple[Action, ...]:
    """Return what brings the number of serving pods nearer to `desired`; `known`: the workers have been read."""
    now = balance(pods, rollout.replicas, rollout.total)
    if not known:
        up = max(0, desired - rollout.replicas)
        return (Scale(deployment, desired, "数据库不可用，只增不减"),) if up else ()
    if desired > now.serving:
        return _grow(deployment, pods, now, desired)
    wanted = now.serving - desired
    idle = _idle(pods) + now.missing
    orders = () if rollout.busy and desired > 0 else _cordon(pods, wanted - min(wanted, idle))
    lower = _lower(deployment, pods, rollout, now, desired)
    everything = any(isinstance(action, Scale) and action.replicas == 0 for action in lower)
    return (*orders, *(() if everything else _mark(pods)), *lower)


def order_all(pods: Sequence[PodWorker]) -> tuple[Action, ...]:
    """Return the orders that make every worker drain, whatever was wanted."""
    return _orders([pod for pod in pods if pod.stage is Stage.WORKING], Order.DRAIN)


def is_over(pods: Sequence[PodWorker]) -> bool:
    """Say whether no pod has anything to lose."""
    return all(pod.stage in {Stage.HARMLESS, Stage.DONE, Stage.EXPIRED} for pod in pods)


def _grow(deployment: str, pods: Sequence[PodWorker], now: Balance, desired: int) -> tuple[Action, ...]:
    """先收回正要走的（免费、立刻），再添新的。已经付了账的那几个随时会被删，收不得。"""
    need = desired - now.serving
    leaving = sorted((pod for pod in pods if pod.leaving), key=_progress)
    if now.paid:
        leaving = [pod for pod in leaving if pod.stage is Stage.LEAVING]
    back = leaving[: min(need, now.owing)]
    unmark = [DeletionCost(pod.name, None) for pod in back if pod.cost]
    grow = need - len(back)
    scale = (Scale(deployment, now.replicas + grow, "需要更多工作进程"),) if grow > 0 else ()
    return (*_orders(back, Order.RUN), *unmark, *scale)


def _cordon(pods: Sequence[PodWorker], count: int) -> tuple[Action, ...]:
    """闲的先走，其次任务最少的，其次最新的；还没应过上一道命令的不动。"""
    steady = [pod for pod in pods if pod.steady]
    return _orders(choose_victims(steady, min(count, c.DRAIN_ORDERS_MAX)), Order.DRAIN)


def _mark(pods: Sequence[PodWorker]) -> tuple[Action, ...]:
    done = [pod for pod in pods if pod.stage in {Stage.DONE, Stage.EXPIRED} and not pod.cost]
    back = [pod for pod in pods if pod.stage is Stage.WORKING and pod.cost]
    return (*(DeletionCost(pod.name, c.DRAIN_COST) for pod in done), *(DeletionCost(pod.name, None) for pod in back))


def _lower(deployment: str, pods: Sequence[PodWorker], rollout: Rollout, now: Balance, desired: int) -> tuple[Action, ...]:
    if is_over(pods) and rollout.total <= len(pods):  # 看得见的就是全部，而且谁都没有可失去的：删哪个都行
        count = now.replicas - desired
        return (Scale(deployment, desired, "所有工作进程都已收尾"),) if count > 0 else ()
    if rollout.busy:
        return ()
    if not _is_safe(pods, rollout):
        return ()
    leave = sum(pod.deletable for pod in pods) - now.paid
    if leave > 0:
        return (Scale(deployment, now.replicas - leave, "已收尾的工作进程可以走了"),)
    spare = min(now.serving - desired, _idle(pods) + now.missing - now.paid)
    return (Scale(deployment, now.replicas - spare, "还没起来的工作进程不需要了"),) if spare > 0 else ()


def _is_safe(pods: Sequence[PodWorker], rollout: Rollout) -> bool:
    """Say whether every pod with something to lose sorts behind those that may go, in the controller's eyes too.

    The controller must count as many ready pods as we see. If another pod has just become ready, equal numbers may be a
    coincidence: then wait until it has been so for longer than the controller's cache can lag.
    """
    exposed = [pod for pod in pods if pod.stage in {Stage.WORKING, Stage.LEAVING}]
    if not all(pod.ready and not pod.cost for pod in exposed):
        return False  # 刚收回、还没就绪的会排在前面被误删
    quiet = all(pod.quiet_s >= c.DRAIN_QUIET_S for pod in exposed)
    return quiet and rollout.settled(sum(pod.ready for pod in pods))


def _idle(pods: Sequence[PodWorker]) -> int:
    return sum(pod.stage is Stage.HARMLESS for pod in pods)


def _progress(pod: PodWorker) -> tuple[bool, bool, int]:
    """收回的次序：还没收尾的、还就绪的先来。"""
    return (pod.deletable, not pod.ready, -pod.running)


def _orders(pods: Sequence[PodWorker], order: Order) -> tuple[Action, ...]:
    uids = tuple(sorted(pod.uid for pod in pods))
    return (OrderWorkers(uids, order),) if uids else ()
