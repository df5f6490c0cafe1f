"""One round for one TaskQueue: facts → plan → actions → status → events → when to look again.

What can be repeated is repeated with a growing pause and leaves the conditions alone. What a person must change becomes
a condition. A bug marks only the object that met it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from taskmill import constants as c
from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.errors import TaskmillError
from taskmill.kube import conditions
from taskmill.kube.apply import Applier, NotLeadingError
from taskmill.kube.conditions import Verdict
from taskmill.kube.events import EventPoster
from taskmill.kube.facts import Connected, Facts
from taskmill.kube.failures import ForbiddenError, InvalidError, KubeError, NotFoundError
from taskmill.kube.keys import Key
from taskmill.kube.metrics import Metrics
from taskmill.kube.model import secret_names
from taskmill.kube.reasons import Reason
from taskmill.kube.rollouts import Rollouts
from taskmill.kube.scaling import Scaling
from taskmill.kube.state import Event, Manifest, Plan, State
from taskmill.kube.status import StatusWriter
from taskmill.kube.workqueue import WorkQueue
from taskmill.log import get_logger

log = get_logger(__name__)


class Reconciler:
    """Rounds for TaskQueues."""

    def __init__(
        self, planner: Callable[[State], Plan], facts: Facts, scaling: Scaling, applier: Applier, status: StatusWriter, events: EventPoster,
        queue: WorkQueue[Key], rollouts: Rollouts, metrics: Metrics, token: Callable[[], int | None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._plan = planner
        self._facts, self._scaling, self._applier, self._status, self._events = facts, scaling, applier, status, events
        self._queue, self._rollouts, self._metrics, self._token, self._clock = queue, rollouts, metrics, token, clock
        self._interrupted: dict[Key, frozenset[str]] = {}  # 已计入 interruptedTotal 的 Pod
        self._forbidden: dict[tuple[Key, str, str], float] = {}  # (对象, 动词, 目标) → 从何时起一直被拒

    async def connect(self, key: Key) -> Connected:
        """Find the database of a TaskQueue, so that others which share it know of each other; KubeError."""
        queue = self._facts.parsed(key)
        return await self._facts.connect(key, queue, secret_names(queue)) if queue is not None else Connected({}, None)

    async def run(self, key: Key) -> None:
        """Do one round; raises nothing but cancellation."""
        manifest = self._facts.cache.get(key.kind, key.namespace, key.name)
        if manifest is None:
            self._forget(key)
            return
        begin, result = time.perf_counter(), "ok"
        try:
            await self._round(key, manifest)
            self._queue.succeeded(key)
        except NotLeadingError:
            result = "not-leading"
        except (KubeError, TaskmillError) as error:
            result = type(error).__name__
            await self._failed(key, error)
        except Exception as error:
            result = "bug"
            log.exception("对账出错", object=str(key))
            await self._mark(key, Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}", status=None)
            self._queue.retry(key)
        finally:
            self._metrics.reconciles.labels(key.kind.kind, result).inc()
            self._metrics.reconcile_seconds.labels(key.kind.kind).observe(time.perf_counter() - begin)

    async def _round(self, key: Key, manifest: Manifest) -> None:
        token = self._token()
        if token is None:
            raise NotLeadingError
        connected = await self.connect(key)
        terminating = await self._facts.terminating(manifest)
        state = self._facts.state(key, manifest, connected, terminating=terminating, token=token)
        counted = self._counted(key, state.pods)
        state = replace(state, interrupted_known=counted, decision=self._scaling.decision(key), options=self._rollouts.options(key, state.options))
        made = self._plan(state)
        self._rollouts.note(key, rolling=made.rolling)
        await self._applier.run(key, made.actions, connected.link)
        wait = await self._publish(key, manifest, made)
        self._interrupted[key] = counted | frozenset(made.interrupted)
        self._forbidden = {seen: since for seen, since in self._forbidden.items() if seen[0] != key}
        self._queue.add_after(key, min(made.requeue_s, wait or made.requeue_s))

    def _counted(self, key: Key, pods: Sequence[Manifest]) -> frozenset[str]:
        """启动时已在终止的 Pod 算是数过的：是不是被误杀，已无从知道。"""
        known = self._interrupted.get(key)
        uids = {pod["metadata"]["uid"] for pod in pods if known is not None or pod["metadata"].get("deletionTimestamp")}
        return frozenset(uids) if known is None else known & uids

    async def _publish(self, key: Key, manifest: Manifest, made: Plan) -> float:
        """写状态，再发事件：状态没写成就不发，下一轮会再算出同样的事件。"""
        latest = self._facts.cache.get(key.kind, key.namespace, key.name)
        if latest is None or latest["metadata"].get("uid") != manifest["metadata"].get("uid"):
            return 0.0
        wait = 0.0
        try:
            wait = await self._status.write(key, latest, made.status) if made.status else 0.0
        except NotFoundError:
            return 0.0  # 刚去掉 finalizer，它已经不在了
        for event in made.events:
            await self._events.post(manifest, event)
        return wait

    async def _failed(self, key: Key, error: KubeError | TaskmillError) -> None:
        pause = self._queue.retry(key, getattr(error, "retry_after_s", None) or 0.0)
        log.warning("本轮未完成，稍后再试", object=str(key), error=str(error), pause_s=round(pause, 1))
        if isinstance(error, InvalidError):
            await self._mark(key, Reason.INVALID_SPEC, f"{error.verb} {error.target}: {error.message}", status=False)
        elif isinstance(error, ForbiddenError):
            seen = (key, error.verb, error.target)
            since = self._forbidden.setdefault(seen, self._clock.monotonic())
            if self._clock.monotonic() - since >= c.KUBE_FORBIDDEN_S:
                message = f"not allowed to {error.verb} {error.target}: {error.message}"
                await self._mark(key, Reason.FORBIDDEN, message, status=False)

    async def _mark(self, key: Key, reason: Reason, message: str, *, status: bool | None) -> None:
        """让对象自己说出哪里不对；写不成也不要紧，下一轮还会来。"""
        manifest = self._facts.cache.get(key.kind, key.namespace, key.name)
        if manifest is None or self._token() is None:
            return
        old: Manifest = manifest.get("status") or {}
        generation = int(manifest["metadata"].get("generation") or 0)
        verdicts = [Verdict("Ready", status, reason, message), Verdict("Reconciling", False, Reason.SETTLED)]
        if status is False:
            verdicts.append(Verdict("Stalled", True, reason, message))
        named = {verdict.type for verdict in verdicts}
        kept = [each for each in old.get("conditions") or () if each["type"] not in named]
        made = conditions.merge(old.get("conditions") or (), verdicts, generation, self._clock.now())
        new: Manifest = {**old, "observedGeneration": generation, "conditions": [*made, *kept]}
        try:
            await self._status.write(key, manifest, new)
        except KubeError as error:
            log.warning("状态没写成", object=str(key), error=str(error))
            return
        if conditions.reason_of(old, "Ready") != reason.value:
            await self._events.post(manifest, Event("Warning", reason, conditions.bounded(message)))

    def _forget(self, key: Key) -> None:
        self._interrupted.pop(key, None)
        for each in (self._facts, self._scaling, self._status, self._queue, self._rollouts):
            each.forget(key)
        self._metrics.forget(key.namespace, key.name)
