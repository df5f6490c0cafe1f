"""What every round for an object of ours has in common: its measure, its errors, and its status.

What can be repeated is repeated with a growing pause and leaves the conditions alone. What a person must change becomes
a condition. A bug marks only the object that met it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from taskmill.clock import SYSTEM_CLOCK, Clock
from taskmill.errors import TaskmillError
from taskmill.kube import constants as c
from taskmill.kube import names
from taskmill.kube.apiserver.claims import Claims
from taskmill.kube.apiserver.failures import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NameTakenError,
    NotFoundError,
)
from taskmill.kube.apiserver.keys import Key
from taskmill.kube.loop.apply import Applier, NotLeadingError
from taskmill.kube.loop.events import EventPoster
from taskmill.kube.loop.status import StatusWriter
from taskmill.kube.loop.workqueue import WorkQueue
from taskmill.kube.metrics import Metrics
from taskmill.kube.observe.facts import Facts
from taskmill.kube.plan import conditions
from taskmill.kube.plan.conditions import Verdict
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.plan.symptoms import is_quota
from taskmill.kube.state import Event, Manifest
from taskmill.log import get_logger

log = get_logger(__name__)
CLAIMED: Final = (
    "waits for the operator {holder}, which holds Lease {lease} of this namespace and has not looked at this spec; "
    "the Lease ends by itself when that operator is gone, at once with kubectl delete lease {lease} -n {namespace}"
)


@dataclass(frozen=True, slots=True)
class Tools:
    """What rounds work with; `token` returns the fencing token while this process leads, else None; `lost` what the API
    server said of a namespace that cannot be read; `claims` who acts in a namespace instead of us.
    """

    facts: Facts
    applier: Applier
    status: StatusWriter
    events: EventPoster
    queue: WorkQueue[Key]
    metrics: Metrics
    token: Callable[[], int | None]
    clock: Clock = SYSTEM_CLOCK
    lost: Callable[[str], KubeError | None] = lambda _: None
    claims: Claims | None = None


def refusal(error: KubeError) -> Reason | None:
    """Return the reason if a quota or a policy refused what we may do as such; None if it is something else."""
    if not isinstance(error, ForbiddenError | InvalidError):
        return None
    if is_quota(error.message):
        return Reason.QUOTA_EXCEEDED
    policies = ("ValidatingAdmissionPolicy", "admission webhook", "denied the request", "PodSecurity")
    return Reason.ADMISSION_REFUSED if any(words in error.message for words in policies) else None


@dataclass(frozen=True, slots=True)
class Known:
    """Conditions that a plan made from what it saw, the events that go with them, and the fencing token of that time: what
    was known before the lease was lost is old.
    """

    token: int
    conditions: Sequence[Manifest]
    events: Sequence[Event] = ()


class Rounds(ABC):
    """One round at a time per object. `_known`: what holds whatever becomes of the actions of the last round that planned."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._known: dict[Key, Known] = {}
        self._unseen: dict[Key, tuple[int, float]] = {}  # 别人管着的：哪一代 spec，从何时看着它
        self._forbidden: dict[tuple[Key, str, str], float] = {}  # (对象, 动词, 目标) → 从何时起一直被拒

    @abstractmethod
    async def _round(self, key: Key, manifest: Manifest, token: int) -> float:
        """Do the work and return when to look again, in seconds; KubeError, TaskmillError, NotLeadingError."""

    async def run(self, key: Key) -> None:
        """Do one round; raises nothing but cancellation."""
        tools = self._tools
        manifest, token = tools.facts.cache.get(key.kind, key.namespace, key.name), tools.token()
        if manifest is None:
            self._forget(key)
            return
        begin, result = time.perf_counter(), "ok"
        try:
            if token is None:
                raise NotLeadingError  # noqa: TRY301 - 与中途失去租约同样处理
            if error := tools.lost(key.namespace):
                raise error  # noqa: TRY301 - 同上
            foreign = await tools.claims.other(key.namespace) if tools.claims is not None else ""
            if foreign:
                self._leave(key)
            pause = await (self._wait(key, manifest, foreign) if foreign else self._round(key, manifest, token))
            result = "foreign" if foreign else result
            tools.queue.succeeded(key)
            self._allow(key)
            tools.queue.add_after(key, pause)
        except NotLeadingError:
            result = "not-leading"
            tools.queue.add_after(key, c.LEASE_RETRY_S)  # 只是续租迟了的话，马上又会续上
        except (KubeError, TaskmillError) as error:
            result = type(error).__name__
            await self._failed(key, error)
        except Exception as error:
            result = "bug"
            log.exception("对账出错", object=str(key))
            # 原文可能带着连接地址，只进日志，不进人人可读的状态
            await self._mark(
                key, Reason.INTERNAL_ERROR, f"{type(error).__name__}: {Reason.INTERNAL_ERROR.about}", status=None
            )
            tools.queue.retry(key)
        finally:
            tools.metrics.reconciles.labels(key.kind.kind, result).inc()
            tools.metrics.reconcile_seconds.labels(key.kind.kind).observe(time.perf_counter() - begin)

    async def _publish(self, key: Key, manifest: Manifest, status: Manifest, events: Iterable[Event]) -> float:
        """写状态，再发事件：状态没写成就不发，下一轮会再算出同样的事件。"""
        if self._tools.token() is None:
            raise NotLeadingError
        latest = self._tools.facts.cache.get(key.kind, key.namespace, key.name)
        if latest is None or latest["metadata"].get("uid") != manifest["metadata"].get("uid"):
            return 0.0
        wait = 0.0
        try:
            wait = await self._tools.status.write(key, latest, status) if status else 0.0
        except NotFoundError:
            return 0.0  # 刚去掉 finalizer，它已经不在了
        for event in events:
            await self._tools.events.post(manifest, event)
        return wait

    async def _wait(self, key: Key, manifest: Manifest, holder: str) -> float:
        """别人管着它。过了一阵那一位还没看过这一代 spec，多半已经不在了：说出在等谁，它来写状态就让它写。"""
        status, metadata, now = manifest.get("status") or {}, manifest["metadata"], self._tools.clock.monotonic()
        generation = int(metadata.get("generation") or 0)
        seen, since = self._unseen.get(key, (0, now))
        self._unseen[key] = (generation, since if seen == generation else now)
        if status.get("observedGeneration") == generation or now - self._unseen[key][1] < c.CLAIM_LOOK_S:
            return c.CLAIM_LOOK_S
        message = CLAIMED.format(holder=holder, lease=names.CLAIM, namespace=key.namespace)
        old = status.get("conditions") or ()
        made = conditions.merge(old, [Verdict("Ready", None, Reason.CLAIMED, message)], generation, self._tools.clock.now())
        kept = [each for each in old if each["type"] != "Ready"]
        try:
            await self._tools.status.write(key, manifest, {**status, "conditions": [*made, *kept]}, unchanged=True)
        except (ConflictError, NotFoundError):
            log.info("它刚被改过，不去写它的状态", object=str(key), other=holder)
        return c.CLAIM_LOOK_S

    async def _failed(self, key: Key, error: KubeError | TaskmillError) -> None:
        pause = self._tools.queue.retry(key, getattr(error, "retry_after_s", None) or 0.0)
        log.warning("本轮未完成，稍后再试", object=str(key), error=str(error), pause_s=round(pause, 1))
        if isinstance(error, KubeError) and (reason := refusal(error)):
            await self._mark(key, reason, f"{error.verb} {error.target}: {error.message}", status=False)
        elif isinstance(error, InvalidError):
            await self._mark(key, Reason.INVALID_SPEC, f"{error.verb} {error.target}: {error.message}", status=False)
        elif isinstance(error, NameTakenError):
            await self._mark(key, Reason.OBJECT_NAME_TAKEN, error.message, status=False)
        elif isinstance(error, ForbiddenError):
            now = self._tools.clock.monotonic()
            if now - self._forbidden.setdefault((key, error.verb, error.target), now) >= c.KUBE_FORBIDDEN_S:
                message = f"not allowed to {error.verb} {error.target}: {error.message}"
                await self._mark(key, Reason.FORBIDDEN, message, status=False)

    async def _mark(self, key: Key, reason: Reason, message: str, *, status: bool | None) -> None:
        """让对象自己说出哪里不对；写不成也不要紧，下一轮还会来。"""
        manifest, token = self._tools.facts.cache.get(key.kind, key.namespace, key.name), self._tools.token()
        if manifest is None or token is None:
            return
        old: Manifest = manifest.get("status") or {}
        generation, before = int(manifest["metadata"].get("generation") or 0), old.get("conditions") or ()
        verdicts = [Verdict("Ready", status, reason, message), Verdict("Reconciling", False, Reason.SETTLED)]
        if status is False:
            verdicts.append(Verdict("Stalled", True, reason, message))
        known = self._known.get(key)
        known = known if known is not None and known.token == token else Known(token, ())
        own = {verdict.type for verdict in verdicts}
        verdicts += [conditions.verdict(each) for each in known.conditions if each["type"] not in own]
        named = {verdict.type for verdict in verdicts}
        kept = [each for each in before if each["type"] not in named]
        made = conditions.merge(before, verdicts, generation, self._tools.clock.now())
        try:
            await self._tools.status.write(
                key, manifest, {**old, "observedGeneration": generation, "conditions": [*made, *kept]}
            )
        except KubeError as error:
            log.warning("状态没写成", object=str(key), error=str(error))
            return
        for event in _told(before, made, reason, message, known.events):
            await self._tools.events.post(manifest, event)

    def _leave(self, key: Key) -> None:
        """别的控制器管着它：不再看它的库、不再报它的数；谁要哪个队列名仍记着。"""
        self._known.pop(key, None)
        self._tools.facts.databases.release(key)

    def _forget(self, key: Key) -> None:
        self._allow(key)
        self._known.pop(key, None)
        self._unseen.pop(key, None)
        for each in (self._tools.facts, self._tools.status, self._tools.queue):
            each.forget(key)

    def _allow(self, key: Key) -> None:
        for seen in [each for each in self._forbidden if each[0] == key]:
            del self._forbidden[seen]


def _told(
    before: Sequence[Manifest], made: Sequence[Manifest], reason: Reason, message: str, others: Sequence[Event]
) -> list[Event]:
    """一轮没做成，看到的变化也要说：写进了状态，下一轮就看不出是变化了。"""
    found = list(conditions.transitions(before, made))
    if conditions.reason_of(before, "Ready") != reason.value and all(each.reason != reason.value for each in found):
        found.append(Event("Warning", reason.value, conditions.bounded(message)))
    changed = conditions.reason_of(before, "Migrated") != conditions.reason_of(made, "Migrated")
    return [*found, *(others if changed else ())]
