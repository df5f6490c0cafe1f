"""Each pod of a queue with the worker that runs in it, and what follows from the two for scaling in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.model import parse_time
from taskmill.kube.crd.task_queue import Drain
from taskmill.kube.plan.rollout import TEMPLATE_HASH
from taskmill.kube.scale.decide import Pods
from taskmill.kube.state import Manifest, State
from taskmill.services.fleet import Order, WorkerFact

ENDED = frozenset({"Succeeded", "Failed"})


class Stage(StrEnum):
    """What a pod is to scaling in.

    HARMLESS: it runs nothing and cannot soon; the ReplicaSet takes it first. STARTING: not registered yet, leave it.
    WORKING: takes tasks. LEAVING: told to drain, and not yet done. DONE: has obeyed and runs nothing.
    EXPIRED: still runs tasks after drain.timeoutSeconds and is to hand them back.
    """

    HARMLESS = "harmless"
    STARTING = "starting"
    WORKING = "working"
    LEAVING = "leaving"
    DONE = "done"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class PodWorker:
    """A pod that counts (neither ended nor being deleted), its newest worker, and its stage."""

    name: str
    uid: str
    worker: WorkerFact | None
    stage: Stage
    template: str  # 它的 ReplicaSet 的模板散列
    ready: bool
    cost: bool
    overdue_s: float  # 超过收尾时限多久；负数是还剩多久
    quiet_s: float  # 就绪与否多久没变了

    @property
    def running(self) -> int:
        """Tasks that it runs."""
        return self.worker.running if self.worker else 0

    @property
    def started_at(self) -> datetime:
        """When its worker started; only of a each that has one."""
        assert self.worker is not None  # noqa: S101 - 只对有工作进程的 Pod 调用
        return self.worker.started_at

    @property
    def leaving(self) -> bool:
        """Say whether its worker has the order to drain."""
        return self.stage in {Stage.LEAVING, Stage.DONE, Stage.EXPIRED}

    @property
    def deletable(self) -> bool:
        """Say whether it may go and would be taken before any pod that works: marked, and not ready or given up."""
        if self.stage is Stage.EXPIRED:
            return self.cost and self.overdue_s >= c.DRAIN_SETTLE_S
        return self.stage is Stage.DONE and self.cost and not self.ready

    @property
    def steady(self) -> bool:
        """Say whether its worker has obeyed the last order and takes tasks: only then it may be told to drain."""
        worker = self.worker
        return self.stage is Stage.WORKING and worker is not None and not worker.draining and _obeyed(worker)


def pod_workers(state: State, drain: Drain) -> list[PodWorker]:
    """Return the pods that count, with their workers."""
    newest = newest_workers(state.workers or ())
    return [_pod_worker(pod, newest.get(uid_of(pod)), state, drain) for pod in state.pods if is_active(pod)]


def count_pods(state: State) -> Pods:
    """Return the numbers that the scaler wants; pods ordered but not there yet count as starting."""
    found = pod_workers(state, Drain())
    staying = [each for each in found if not each.leaving]
    ready = sum(each.ready for each in staying)
    replicas = int(((state.deployment or {}).get("spec") or {}).get("replicas") or 0)
    leaving = [each for each in found if each.leaving]
    return Pods(
        ready=ready,
        starting=len(staying) - ready + max(0, replicas - len(found)),
        draining=len(leaving),
        draining_running=sum(each.running for each in leaving),
    )


def newest_workers(workers: Iterable[WorkerFact]) -> dict[str, WorkerFact]:
    """Return the newest worker of each pod: a container that was started again has a row of its own."""
    return {worker.pod_uid: worker for worker in sorted(workers, key=lambda each: each.started_at)}


def is_active(pod: Manifest) -> bool:
    """Say whether the ReplicaSet counts the pod."""
    return not pod["metadata"].get("deletionTimestamp") and (pod.get("status") or {}).get("phase") not in ENDED


def is_ready(pod: Manifest) -> bool:
    """Say whether the pod's condition Ready is true."""
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in (pod.get("status") or {}).get("conditions") or ()
    )


def uid_of(pod: Manifest) -> str:
    """Return the uid of a pod."""
    return str(pod["metadata"]["uid"])


def containers(pod: Manifest) -> list[Mapping[str, Any]]:
    """Return the statuses of the pod's containers."""
    return (pod.get("status") or {}).get("containerStatuses") or []


def _pod_worker(pod: Manifest, worker: WorkerFact | None, state: State, drain: Drain) -> PodWorker:
    uid, ready = uid_of(pod), is_ready(pod)
    told = state.drain_since.get(uid, state.now)
    overdue_s = (state.now - told).total_seconds() - drain.timeout_seconds
    stage = _alone(pod, ready=ready, now=state.now) if worker is None else _with(worker, drain, overdue_s)
    return PodWorker(
        name=str(pod["metadata"]["name"]), uid=uid, worker=worker, stage=stage, template=names.label(pod, TEMPLATE_HASH),
        ready=ready, cost=bool(names.annotation(pod, names.DELETION_COST)), overdue_s=overdue_s,
        quiet_s=_quiet_s(pod, state.now),
    )  # fmt: skip


def _with(worker: WorkerFact, drain: Drain, overdue_s: float) -> Stage:
    if worker.order is not Order.DRAIN:
        return Stage.WORKING
    if _obeyed(worker) and worker.running == 0 and not worker.ready:
        return Stage.DONE
    return Stage.EXPIRED if overdue_s >= 0 and drain.on_timeout == "Requeue" else Stage.LEAVING


def _alone(pod: Manifest, *, ready: bool, now: datetime) -> Stage:
    """没有工作进程的 Pod：还没起来的可以先走；容器在跑的，等它登记。"""
    if ready:
        return Stage.STARTING
    started = [(each.get("state") or {}).get("running") for each in containers(pod)]
    if (pod.get("status") or {}).get("phase") == "Pending" or not any(started):
        return Stage.HARMLESS
    since = [parse_time(each.get("startedAt")) or now for each in started if each]
    return Stage.HARMLESS if now - max(since) >= timedelta(seconds=c.UNREGISTERED_S) else Stage.STARTING


def _quiet_s(pod: Manifest, now: datetime) -> float:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and (at := parse_time(condition.get("lastTransitionTime"))):
            return (now - at).total_seconds()
    return math.inf


def _obeyed(worker: WorkerFact) -> bool:
    return worker.order_seen == worker.order_token
