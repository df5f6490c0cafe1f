"""The scaling tick: after every look at a database, decide for each of its queues, and wake those that changed.

The scaler's memory lives in this process only. A restarted operator begins with what it finds and lowers nothing for
one stabilisation window, so there is nothing to store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.kube import constants as kc
from taskmill.kube import names
from taskmill.kube.apiserver import kinds as k
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.crd.model import TaskQueue, parse_time, queue_name
from taskmill.kube.metrics import Metrics
from taskmill.kube.observe.database_link import DatabaseLink
from taskmill.kube.observe.facts import Facts
from taskmill.kube.plan.lights import troubles_of
from taskmill.kube.plan.pod_workers import count_pods
from taskmill.kube.scale import decide as scaler
from taskmill.kube.scale.arrivals import Rates
from taskmill.kube.scale.decide import Decision, Inputs, Memory
from taskmill.kube.scaling_spec import scaling_spec
from taskmill.kube.state import Manifest
from taskmill.log import get_logger
from taskmill.services.fleet import Order, QueueLoad, WorkerFact

log = get_logger(__name__)
CONNECTIONS_PER_POD = c.POOL_SIZE + c.ORM_POOL_SIZE + 1  # 两个连接池，加心跳自己的一个
Seen = tuple[object, ...]


@dataclass(slots=True)
class _Kept:
    """一个队列在两拍之间记住的。"""

    memory: Memory
    decision: Decision | None = None
    seen: Seen = ()
    draining: dict[str, float] | None = None
    observed: QueueLoad | None = None
    told: Seen = ()  # 上次促成对账时的负载
    told_at: float = float("-inf")


class Scaling:
    """`wake` has a TaskQueue reconciled."""

    def __init__(
        self,
        facts: Facts,
        wake: Callable[[Key], None],
        metrics: Metrics,
        *,
        tick_s: float = c.OPERATOR_TICK_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._facts, self._wake, self._metrics, self._clock = facts, wake, metrics, clock
        self._new = Memory(Rates(tick_s=tick_s))
        self._kept: dict[Key, _Kept] = {}

    def decision(self, key: Key) -> Decision | None:
        """Return the last decision about a TaskQueue, None before the first."""
        kept = self._kept.get(key)
        return kept.decision if kept is not None else None

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._kept.pop(key, None)

    def tick(self, link: DatabaseLink) -> float:
        """Decide for every queue of a database that was just looked at; returns how far ahead its next look should see."""
        begin = time.perf_counter()
        by_queue: dict[str, list[WorkerFact]] = {}
        for worker in link.workers or ():
            for name in worker.queues:
                by_queue.setdefault(name, []).append(worker)
        used = self._connections(link)
        total = sum(used.values())
        horizon = 0.0
        for user in link.users:
            if not isinstance(user, Key) or user.kind is not k.TASK_QUEUE:
                continue
            queue = self._facts.parsed(user)
            manifest = self._facts.cache.get(user.kind, user.namespace, user.name)
            if queue is None or manifest is None:
                continue
            workers = tuple(by_queue.get(queue_name(queue), ())) if link.workers is not None else None
            try:
                horizon = max(horizon, self._one(user, queue, manifest, link, workers, total - used.get(user, 0)))
            except Exception:  # 一个队列的毛病不能停下这个库上的所有队列
                log.exception("决定规模时出错", object=str(user))
        self._metrics.tick_seconds.observe(time.perf_counter() - begin)
        return horizon

    def _one(
        self,
        key: Key,
        queue: TaskQueue,
        manifest: Manifest,
        link: DatabaseLink,
        workers: tuple[WorkerFact, ...] | None,
        used: int,
    ) -> float:
        kept = self._kept.setdefault(key, _Kept(self._new))
        load = link.load_of(queue_name(queue))
        policy = (link.policies or {}).get(queue_name(queue))  # 有人在库里改了策略：改回来，或写进状态
        seen: Seen = (link.fact.error == "", _workers_seen(workers), policy)
        changed = seen != kept.seen
        kept.seen = seen
        # 只看了工作进程的那几拍没有新的计数，不作新决定
        if load is None or load != kept.observed:
            kept.observed = load
            inputs = self._inputs(key, queue, manifest, load, workers, used)
            decision = scaler.decide(inputs, scaling_spec(queue), kept.memory)
            changed |= self._differs(kept.decision, decision)
            kept.memory, kept.decision = decision.memory, decision
        self._publish(key, kept, load, workers)
        if self._news(kept, load, changed=changed):
            self._wake(key)
        return scaler.horizon_s(kept.memory)

    def _news(self, kept: _Kept, load: QueueLoad | None, *, changed: bool) -> bool:
        """负载变了也要写进状态，但不比状态允许的更勤。"""
        numbers: Seen = (load.ready, load.running, load.due_soon, round(load.oldest_wait_s)) if load is not None else ()
        now = self._clock.monotonic()
        if not changed and (numbers == kept.told or now - kept.told_at < kc.KUBE_STATUS_PERIOD_S):
            return False
        kept.told, kept.told_at = numbers, now
        return True

    def _inputs(
        self,
        key: Key,
        queue: TaskQueue,
        manifest: Manifest,
        load: QueueLoad | None,
        workers: tuple[WorkerFact, ...] | None,
        used: int,
    ) -> Inputs:
        state = self._facts.supply(key, manifest, workers)
        return Inputs(
            now=self._clock.monotonic(),
            load=load,
            pods=count_pods(state),
            concurrency=queue.spec.concurrency,
            boot_s=_boot_s(state.pods),
            connections_per_pod=CONNECTIONS_PER_POD,
            connections_used=used,
            quota_pods=_quota(state.deployment, state.pods),
            suspended=queue.spec.stop_policy != "None" or queue.annotations.get(names.PAUSED) == "true",
        )

    def _differs(self, old: Decision | None, new: Decision) -> bool:
        if old is not None and old.pods != new.pods:
            self._metrics.decisions.labels("up" if new.pods > old.pods else "down").inc()
        # 说明里的数字每拍都变，它们跟着别的变化一起写；理由变了才算变
        return old is None or (old.pods, old.recommended, old.reason, old.limited_by) != (
            new.pods, new.recommended, new.reason, new.limited_by,
        )  # fmt: skip

    def _publish(self, key: Key, kept: _Kept, load: QueueLoad | None, workers: tuple[WorkerFact, ...] | None) -> None:
        now = self._clock.monotonic()
        before = kept.draining or {}
        draining = {
            worker.pod_uid: before.get(worker.pod_uid, now) for worker in workers or () if worker.order is Order.DRAIN
        }
        if workers is not None:
            for uid in before.keys() - draining.keys():
                self._metrics.drain_seconds.observe(now - before[uid])
            kept.draining = draining
        values: dict[str, float] = {"replicas": len(workers or ()), "draining_replicas": len(draining)}
        if kept.decision is not None:
            values["desired_replicas"] = kept.decision.pods
        if load is not None:
            values |= {
                "ready_tasks": load.ready,
                "running_tasks": load.running,
                "oldest_wait_seconds": load.oldest_wait_s,
            }
        self._metrics.queue(key.namespace, key.name, values)

    def _connections(self, link: DatabaseLink) -> dict[Key, int]:
        """各队列现在占用的连接：按副本数算，不按此刻打开的算。"""
        found: dict[Key, int] = {}
        for user in link.users:
            if isinstance(user, Key) and user.kind is k.TASK_QUEUE:
                for deployment in self._facts.cache.group(k.DEPLOYMENT, user.namespace, user.name):
                    found[user] = int(deployment["spec"].get("replicas") or 0) * CONNECTIONS_PER_POD
        return found


def _workers_seen(workers: tuple[WorkerFact, ...] | None) -> Seen | None:
    """工作进程的哪些变化值得马上看一眼：来去、命令、就绪、忙闲、难处。"""
    if workers is None:
        return None
    return tuple(
        (each.id, each.order, each.order_seen, each.draining, each.ready, each.running > 0, troubles_of(each))
        for each in workers
    )


def _boot_s(pods: Iterable[Manifest]) -> float | None:
    """最近就绪的 Pod 从创建到就绪用了多久，精确到秒。"""
    newest: tuple[datetime, float] | None = None
    for pod in pods:
        created = parse_time(pod["metadata"].get("creationTimestamp"))
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition.get("type") != "Ready" or condition.get("status") != "True" or created is None:
                continue
            ready = parse_time(condition.get("lastTransitionTime"))
            if ready is not None and (newest is None or created > newest[0]):
                newest = (created, max(1.0, (ready - created).total_seconds()))
    return newest[1] if newest is not None else None


def _quota(deployment: Manifest | None, pods: tuple[Manifest, ...]) -> int | None:
    """命名空间配额已满时，现有的 Pod 数就是上限。"""
    for condition in ((deployment or {}).get("status") or {}).get("conditions") or ():
        full = condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
        if full and "exceeded quota" in str(condition.get("message")):
            return len([pod for pod in pods if not pod["metadata"].get("deletionTimestamp")])
    return None
