"""A ReplicaSet, its pods and their workers, each acting on its own stale view: what the drain protocol must survive.

Assumed, as in the real cluster: a pod that the operator or the ReplicaSet sees pending does not start, register and take
a task before the ReplicaSet has acted on the scale that followed, and the ReplicaSet's view of pods is never older than
DRAIN_QUIET_S. Everything else may happen in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

from taskmill.kube import constants as c
from taskmill.kube.crd.task_queue import Drain
from taskmill.kube.plan.drain import step
from taskmill.kube.plan.pod_workers import PodWorker, pod_workers
from taskmill.kube.plan.rollout import Rollout
from taskmill.kube.state import Action, DeletionCost, Manifest, OrderWorkers, Scale
from taskmill.services.fleet import Order, WorkerFact

from .objects import NOW, at, pod, state, worker


@dataclass
class Pod:
    number: int
    running_phase: bool = False
    ready: bool = False
    cost: int | None = None
    order: Order = Order.RUN
    order_no: int = 0
    seen: int = 0
    registered: bool = False
    draining: bool = False
    tasks: int = 0
    row: WorkerFact | None = None
    changed: float = 0.0

    @property
    def name(self) -> str:
        return f"p{self.number}"

    @property
    def readyz(self) -> bool:
        return self.registered and not (self.draining and self.tasks == 0)

    def manifest(self) -> Manifest:
        made = pod(self.name, phase="Running" if self.running_phase else "Pending", ready=self.ready)
        made["status"]["conditions"][0]["lastTransitionTime"] = (NOW + timedelta(seconds=self.changed)).isoformat()
        if self.cost is not None:
            made["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": str(self.cost)}
        return made

    def rank(self) -> tuple[bool, bool, int, int]:
        """真实的次序：待定的、未就绪的、代价低的、最新的先走。"""
        return (self.running_phase, self.ready, self.cost or 0, -self.number)


Stepper = Callable[[Sequence[PodWorker], Rollout, int], Sequence[Action]]


def protocol(found: Sequence[PodWorker], rollout: Rollout, desired: int) -> Sequence[Action]:
    return step("d", found, rollout, desired, known=True)


@dataclass
class World:
    random: Random
    stepper: Stepper = protocol
    replicas: int = 4
    pods: list[Pod] = field(default_factory=list[Pod])
    number: int = 0
    desired: int = 4
    interrupted: int = 0
    killed: int = 0
    scaled_below: int = 0
    rs_view: dict[int, tuple[bool, bool, int | None]] = field(default_factory=dict)
    rs_ready: int = 0
    rs_replicas: int = 4
    op_pods: list[Manifest] = field(default_factory=list[Manifest])
    op_rs: tuple[int, int] = (0, 4)
    now: float = 1000.0
    seen_at: float = 1000.0

    # ── 工作进程与 kubelet ──
    def start(self) -> None:
        self._some(lambda each: not each.running_phase, lambda each: setattr(each, "running_phase", True))
        self.see_pods()

    def register(self) -> None:
        if self.rs_replicas == self.replicas:  # 见文件开头的假设
            self._some(lambda each: each.running_phase and not each.registered, self._register)

    def _register(self, each: Pod) -> None:
        each.registered = True
        self.rs_view[each.number] = (True, *self.rs_view.get(each.number, (True, False, None))[1:])
        self._write_row(each)

    def probe(self) -> None:
        self._some(lambda each: each.running_phase, self._probe)

    def _probe(self, each: Pod) -> None:
        if each.ready is not each.readyz:
            each.ready, each.changed = each.readyz, self.now

    def take(self) -> None:
        self._some(lambda each: each.registered and not each.draining, lambda each: setattr(each, "tasks", each.tasks + 1))

    def finish(self) -> None:
        self._some(lambda each: each.tasks > 0, lambda each: setattr(each, "tasks", each.tasks - 1))

    def heartbeat(self) -> None:
        """先写自己的近况，再读命令并照办；照办了没有，下一次才写。"""
        self._some(lambda each: each.registered, self._beat)

    def _beat(self, each: Pod) -> None:
        self._write_row(each)
        each.seen, each.draining = each.order_no, each.order is Order.DRAIN

    def _write_row(self, each: Pod) -> None:
        each.row = worker(each.name, running=each.tasks, ready=each.readyz, started=float(each.number))

    # ── ReplicaSet 控制器 ──
    def see_rs(self) -> None:
        self.rs_view = {each.number: (each.running_phase, each.ready, each.cost) for each in self.pods}
        self.rs_ready = sum(each.ready for each in self.pods)
        self.seen_at = self.now

    def act_rs(self) -> None:
        self.rs_replicas = self.replicas
        known = [each for each in self.pods if each.number in self.rs_view]
        viewed = [(replace(each, row=None), each) for each in known]
        for copy, _ in viewed:
            copy.running_phase, copy.ready, copy.cost = self.rs_view[copy.number]
        excess = len(self.pods) - self.replicas
        for _, each in sorted(viewed, key=lambda pair: pair[0].rank())[: max(0, excess)]:
            self.killed += 1
            self.interrupted += each.tasks
            self.pods.remove(each)
            self.rs_view.pop(each.number)
        for _ in range(-excess):
            self.number += 1
            self.pods.append(Pod(self.number, changed=self.now))
            self.rs_view[self.number] = (False, False, None)

    # ── 控制器 ──
    def see_pods(self) -> None:
        self.op_pods = [each.manifest() for each in self.pods]

    def see_status(self) -> None:
        self.op_rs = (self.rs_ready, self.rs_replicas)

    def want(self) -> None:
        self.desired = self.random.randint(0, 6)

    def plan(self) -> None:
        rows: list[WorkerFact] = []
        for each in self.pods:
            if each.row is not None:
                seen = each.seen if each.seen == each.order_no else -1
                rows.append(replace(each.row, order=each.order, order_token=each.order_no, order_seen=seen))
        now = NOW + timedelta(seconds=self.now)
        found = pod_workers(state(now=now, pods=tuple(self.op_pods), workers=tuple(rows)), Drain())
        ready, replicas = self.op_rs
        newest = {
            "metadata": {"name": "rs", "generation": 1, "creationTimestamp": at()},
            "spec": {"replicas": replicas},
            "status": {"observedGeneration": 1, "readyReplicas": ready},
        }
        rollout = Rollout(self.replicas, len(self.pods), 0, 0, False, False, "", newest, "")
        for action in self.stepper(found, rollout, self.desired):
            self._do(action)

    def _do(self, action: Action) -> None:
        by_name = {each.name: each for each in self.pods}
        match action:
            case OrderWorkers(uids, order):
                for each in self.pods:
                    if f"uid-{each.name}" in uids and each.row is not None and each.order is not order:
                        each.order, each.order_no = order, each.order_no + 1
            case DeletionCost(name, cost):
                if name in by_name:
                    by_name[name].cost = cost
            case Scale(_, replicas, _):
                if replicas < min(self.desired, self.replicas):
                    self.scaled_below += 1
                self.replicas = replicas
            case _:
                raise AssertionError(action)

    def _some(self, which: Callable[[Pod], bool], do: Callable[[Pod], None]) -> None:
        found = [each for each in self.pods if which(each)]
        if found:
            do(self.random.choice(found))

    def run(self, events: int) -> None:
        names = [
            "start",
            "register",
            "probe",
            "take",
            "finish",
            "heartbeat",
            "see_rs",
            "act_rs",
            "see_pods",
            "see_status",
            "plan",
        ]
        weights = [2, 2, 6, 4, 6, 6, 3, 3, 4, 4, 4]
        for _ in range(events):
            for name in self.random.choices([*names, "want"], [*weights, 1]):
                getattr(self, name)()
            self.now += self.random.choice([0.0, 0.2, 0.5, 1.0])
            if self.now - self.seen_at >= c.DRAIN_QUIET_S - 1:
                self.see_rs()

    def settle(self, rounds: int = 60) -> None:
        """Let everything become quiet: all views fresh, no new tasks."""
        for _ in range(rounds):
            for each in list(self.pods):
                each.running_phase, each.tasks = True, 0
                if not each.registered:
                    self._register(each)
                self._beat(each)
                self._beat(each)
                self._probe(each)
            self.now += c.DRAIN_QUIET_S
            self.see_rs()
            self.act_rs()
            self.see_rs()
            self.see_pods()
            self.see_status()
            self.plan()
