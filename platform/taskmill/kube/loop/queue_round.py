"""One round for one TaskQueue: facts → plan → actions → status → events → when to look again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from taskmill.kube import constants as c
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.crd.model import secret_names
from taskmill.kube.loop.corrections import Corrections
from taskmill.kube.loop.rollout_limit import Rollouts
from taskmill.kube.loop.rounds import Known, Rounds, Tools
from taskmill.kube.loop.status import can_wait
from taskmill.kube.loop.tick import Scaling
from taskmill.kube.observe.facts import Connected
from taskmill.kube.state import Create, Event, Manifest, Plan, State

OBSERVED = frozenset({"Migrated", "BrokerReachable", "KindsServed"})  # 说的是看到的，与这一轮做成了什么无关
MIGRATION_COMPLETED = "MigrationCompleted"  # 由条件的变化得来的事件里，唯一不在 conditions.transitions 里的

Planner = Callable[[State], Plan]


class Reconciler(Rounds):
    """Rounds for TaskQueues."""

    def __init__(self, tools: Tools, planner: Planner, scaling: Scaling, rollouts: Rollouts) -> None:
        super().__init__(tools)
        self._plan, self._scaling, self._rollouts = planner, scaling, rollouts
        self._corrections = Corrections(tools.clock)
        self._interrupted: dict[Key, frozenset[str]] = {}  # 已计入 interruptedTotal 的 Pod
        self._waiting: set[Key] = set()  # 上一轮没写状态的

    async def connect(self, key: Key) -> Connected:
        """Find the database of a TaskQueue, so that others which share it know of each other; KubeError."""
        facts = self._tools.facts
        queue = facts.parsed(key)
        return await facts.connect(key, queue, secret_names(queue)) if queue is not None else Connected({}, None)

    async def _round(self, key: Key, manifest: Manifest, token: int) -> float:
        facts = self._tools.facts
        connected = await self.connect(key)
        terminating = await facts.terminating(manifest)
        state = facts.state(key, manifest, connected, terminating=terminating, token=token)
        refusals = await facts.refusals.of(state.jobs, state.job_pods)
        counted = self._counted(key, state.pods)
        state = replace(
            state, decision=self._scaling.decision(key), interrupted_known=counted, job_refusals=refusals,
            options=self._corrections.options(key, self._rollouts.options(key, state.options)),
        )  # fmt: skip
        made = self._plan(state)
        self._rollouts.note(key, rolling=made.rolling)
        self._corrections.note(key, made.events)
        self._known[key] = Known(token, *_observed(made))
        await self._tools.applier.run(key, made.actions, connected.link)
        if key not in self._waiting and can_wait(manifest, made):  # 只等一回
            self._waiting.add(key)
            self._interrupted[key] = counted
            return min(made.requeue_s, c.KUBE_STATUS_DEFER_S)
        self._waiting.discard(key)
        wait = await self._publish(key, manifest, made.status, made.events)
        self._interrupted[key] = counted | frozenset(made.interrupted)
        self._tools.metrics.queue(key.namespace, key.name, _measures(made.status))
        return min(made.requeue_s, wait or made.requeue_s)

    def _counted(self, key: Key, pods: Sequence[Manifest]) -> frozenset[str]:
        """启动时已在终止的 Pod 算是数过的：是不是被误杀，已无从知道。"""
        known = self._interrupted.get(key)
        uids = {pod["metadata"]["uid"] for pod in pods if known is not None or pod["metadata"].get("deletionTimestamp")}
        return frozenset(uids) if known is None else known & uids

    def _leave(self, key: Key) -> None:
        super()._leave(key)
        self._drop(key)

    def _forget(self, key: Key) -> None:
        super()._forget(key)
        self._drop(key)

    def _drop(self, key: Key) -> None:
        self._interrupted.pop(key, None)
        self._waiting.discard(key)
        self._scaling.forget(key)
        self._rollouts.forget(key)
        self._corrections.forget(key)
        self._tools.metrics.forget(key.namespace, key.name)


def _observed(made: Plan) -> tuple[list[Manifest], list[Event]]:
    making = any(isinstance(action, Create) for action in made.actions)  # 「Job 建好了」要等它真的建好
    types = OBSERVED - {"Migrated"} if making else OBSERVED
    seen = [each for each in made.status.get("conditions") or () if each["type"] in types]
    return seen, [event for event in made.events if event.reason == MIGRATION_COMPLETED]


def _measures(status: Manifest) -> dict[str, float]:
    said = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    return {
        "interrupted_tasks": float(status.get("interruptedTotal") or 0),
        "broker_unreachable": float(said.get("BrokerReachable") == "False"),
        "kinds_unserved": float(said.get("KindsServed") == "False"),
    }
