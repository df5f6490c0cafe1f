"""One round for one TaskQueue: facts → plan → actions → status → events → when to look again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from taskmill import constants as c
from taskmill.kube.corrections import Corrections
from taskmill.kube.facts import Connected
from taskmill.kube.keys import Key
from taskmill.kube.model import secret_names
from taskmill.kube.rollouts import Rollouts
from taskmill.kube.rounds import Rounds, Tools
from taskmill.kube.scaling import Scaling
from taskmill.kube.state import Apply, Manifest, Plan, State

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
        counted = self._counted(key, state.pods)
        state = replace(
            state, decision=self._scaling.decision(key), interrupted_known=counted,
            options=self._corrections.options(key, self._rollouts.options(key, state.options)),
        )  # fmt: skip
        made = self._plan(state)
        self._rollouts.note(key, rolling=made.rolling)
        self._corrections.note(key, made.events)
        await self._tools.applier.run(key, made.actions, connected.link)
        if self._may_wait(key, manifest, made):
            self._interrupted[key] = counted
            return c.KUBE_STATUS_DEFER_S
        wait = await self._publish(key, manifest, made.status, made.events)
        self._interrupted[key] = counted | frozenset(made.interrupted)
        interrupted = float(made.status.get("interruptedTotal") or 0)
        self._tools.metrics.queue(key.namespace, key.name, {"interrupted_tasks": interrupted})
        return min(made.requeue_s, wait or made.requeue_s)

    def _may_wait(self, key: Key, manifest: Manifest, made: Plan) -> bool:
        """只把该有的对象建好了、没有事可说：状态等它们有了回音再写，两次写并作一次。只等一回。"""
        seen = int((manifest.get("status") or {}).get("observedGeneration") or 0)
        quiet = made.actions and not made.events and not made.interrupted and all(isinstance(each, Apply) for each in made.actions)
        if key in self._waiting or not quiet or seen != manifest["metadata"].get("generation"):
            self._waiting.discard(key)
            return False
        self._waiting.add(key)
        return True

    def _counted(self, key: Key, pods: Sequence[Manifest]) -> frozenset[str]:
        """启动时已在终止的 Pod 算是数过的：是不是被误杀，已无从知道。"""
        known = self._interrupted.get(key)
        uids = {pod["metadata"]["uid"] for pod in pods if known is not None or pod["metadata"].get("deletionTimestamp")}
        return frozenset(uids) if known is None else known & uids

    def _forget(self, key: Key) -> None:
        super()._forget(key)
        self._interrupted.pop(key, None)
        self._waiting.discard(key)
        self._scaling.forget(key)
        self._rollouts.forget(key)
        self._corrections.forget(key)
        self._tools.metrics.forget(key.namespace, key.name)
