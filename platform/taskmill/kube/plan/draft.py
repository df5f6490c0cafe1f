"""A plan while it is made: every stage adds what it wants done and what it found out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property

from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.crd.model import TaskQueue
from taskmill.kube.crd.status import QueueStatus
from taskmill.kube.plan import pod_workers, rollout
from taskmill.kube.plan.conditions import Type, Verdict
from taskmill.kube.plan.pod_workers import PodWorker
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.plan.rollout import Rollout
from taskmill.kube.render import workers as manifests
from taskmill.kube.state import Action, Event, Manifest, Scale, State


@dataclass
class Draft:
    """Filled stage by stage. The first verdict on a condition stands: the earlier stage has the graver reason."""

    state: State
    queue: TaskQueue
    actions: list[Action] = field(default_factory=list[Action])
    events: list[Event] = field(default_factory=list[Event])
    verdicts: dict[Type, Verdict] = field(default_factory=dict[Type, Verdict])
    status: QueueStatus = field(init=False)  # 从上次写下的开始，各阶段改自己的那几项
    requeue_s: float = c.RESYNC_S
    template_changes: bool = False
    paused_by: str = ""  # 别人在库里停了这个队列：是谁
    note: str = ""  # 一切如愿时还值得一提的
    rolling: bool = False
    interrupted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.status = copy.copy(self.queue.status)

    def report(self, kind: Type, status: bool | None, reason: Reason, message: str = "") -> None:  # noqa: FBT001 - 条件的状态
        """Give a condition, unless an earlier stage has."""
        self.verdicts.setdefault(kind, Verdict(kind, status, reason, message))

    def not_ready(self, reason: Reason, message: str, *, stalled: bool = False, going: bool = False) -> None:
        """Say why it is not as desired; `stalled`: only a person can go on; `going`: the operator is on it."""
        if "Ready" in self.verdicts:
            return
        self.report("Ready", False, reason, message)
        self.report("Stalled", stalled, reason if stalled else Reason.NOT_STALLED, message if stalled else "")
        moving = going and not stalled
        self.report("Reconciling", moving, reason if moving else Reason.SETTLED, message if moving else "")

    def moving(self, reason: Reason, message: str) -> None:
        """Say that the operator is on its way all the same, where Ready tells of something graver; not if it is stalled."""
        known, stalled = self.verdicts.get("Reconciling"), self.verdicts.get("Stalled")
        if known is not None and not known.status and not (stalled and stalled.status):
            self.verdicts["Reconciling"] = Verdict("Reconciling", True, reason, message)

    def again_in(self, seconds: float | None) -> None:
        """Look again after so many seconds at the latest."""
        if seconds is not None:
            self.requeue_s = min(self.requeue_s, max(0.0, seconds))

    @property
    def workload(self) -> str:
        """Return the name of the Deployment."""
        live = self.state.deployment
        return str(live["metadata"]["name"]) if live else names.workload(self.queue.name)

    @cached_property
    def deployment(self) -> Manifest | None:
        """Return the Deployment if it is ours: what bears our labels may still be somebody else's."""
        live = self.state.deployment
        return live if live is not None and manifests.is_ours(live, self.queue) else None

    @cached_property
    def pods(self) -> list[PodWorker]:
        """Return the pods that count, with their workers; those of somebody else's Deployment do not."""
        foreign = self.state.deployment is not None and self.deployment is None
        return [] if foreign else pod_workers.pod_workers(self.state, self.queue.spec.drain)

    @cached_property
    def rollout(self) -> Rollout | None:
        """Return where the rollout stands, None without a Deployment."""
        live = self.deployment
        return rollout.read(live, self.state.replica_sets) if live is not None else None

    @property
    def scaled_to(self) -> int | None:
        """Return the number of replicas that the plan sets, None if it leaves it."""
        return next((action.replicas for action in self.actions if isinstance(action, Scale)), None)
