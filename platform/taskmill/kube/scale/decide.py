"""How many pods a queue needs: a pure function of what was counted, what was asked for, and what is remembered.

    decision = decide(inputs, spec, memory)     # 每个周期一次；下次用 decision.memory

It only says a number. Cordoning, finishing and deleting are the drain's affair, so lowering the number interrupts
nothing, and raising it first takes back pods that were about to leave.
Invariants, each held by a test: (1) min ≤ pods ≤ max, unless a budget caps below min; (2) unknown data never lowers;
(3) more ready tasks never mean fewer pods; (4) a constant load settles on one number; (5) from zero straight to n.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol, TypeVar

from taskmill.kube import constants as c
from taskmill.kube.scale import demand, windows
from taskmill.kube.scale.arrivals import Load, Rates, observe
from taskmill.kube.scale.demand import Term, Work
from taskmill.kube.scale.windows import Points

ROUNDING = 1e-9  # 浮点误差不多要一个 Pod


class ActiveReason(StrEnum):
    """Why scaling is or is not active; the reasons of condition ScalingActive."""

    COMPUTING = "Computing"
    DRY_RUN = "DryRun"
    MANUAL = "Manual"
    EXTERNAL = "External"
    METRICS_STALE = "MetricsStale"
    FALLBACK_ACTIVE = "FallbackActive"
    SUSPENDED = "Suspended"


class Limit(StrEnum):
    """What kept the number from being what the load asks for; the reasons of condition ScalingLimited."""

    NOT_LIMITED = "NotLimited"
    MAX_REPLICAS = "MaxReplicas"
    MIN_REPLICAS = "MinReplicas"
    RATE_LIMITED = "RateLimited"
    DATABASE_CONNECTIONS = "DatabaseConnections"
    QUOTA_EXCEEDED = "QuotaExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSpec:
    """`spec.scaling` of a TaskQueue; times in seconds, percentages as whole numbers. The defaults are the schema's."""

    mode: Literal["Auto", "Manual", "External"] = "Auto"
    min_replicas: int = 0
    max_replicas: int = 10
    start_latency_s: float = 30.0
    percentile: int = 95
    max_utilization: int = 90
    idle_s: float = 300.0
    prewarm: bool = True
    scale_up_max_pods: int | None = None
    scale_up_period_s: float = 15.0
    scale_down_stabilization_s: float = 60.0
    scale_down_max_pods: int | None = None
    scale_down_period_s: float = 60.0
    failure_threshold: int = 3
    fallback_behavior: Literal["Hold", "Static", "StaticIfHigher"] = "Hold"
    fallback_replicas: int | None = None
    database_connections: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods by what they do; those that drain are in neither of the other two."""

    ready: int = 0
    starting: int = 0
    draining: int = 0
    draining_running: int = 0  # 正在离开的 Pod 上还在跑的任务数

    @property
    def serving(self) -> int:
        """Pods that take work or soon will: what `Decision.pods` is compared with."""
        return self.ready + self.starting


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is known at `now` (seconds of a steady clock). `load` None: the database did not answer."""

    now: float
    load: Load | None
    pods: Pods
    concurrency: int
    boot_s: float | None = None  # 量到的 Pod 启动时间（创建 → 开始接活），没量到就用记住的
    connections_per_pod: int = 0
    connections_used: int = 0  # 预算里已被本队列以外占用的连接数
    quota_pods: int | None = None  # 命名空间配额最多允许多少个 Pod；None：没碰到配额
    suspended: bool = False  # 队列已暂停：不增不减


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next. A new one holds what it finds for one stabilisation window."""

    rates: Rates = field(default_factory=Rates)
    boot_s: float = c.BOOT_PRIOR_S
    failures: int = 0
    last_active: float | None = None
    recommended: Points = ()
    decided: Points = ()
    raised_at: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`pods` is what to have, not counting those that drain; `recommended` the same before dry-run and modes."""

    pods: int
    recommended: int
    reason: ActiveReason
    term: Term
    limited_by: Limit
    explanation: str
    memory: Memory


class Worker(Protocol):
    """What choosing a victim needs to know; `WorkerFact` has it."""

    @property
    def running(self) -> int:
        """Tasks that it runs."""
        ...

    @property
    def started_at(self) -> datetime:
        """When it started."""
        ...


PASSIVE = frozenset({ActiveReason.SUSPENDED, ActiveReason.MANUAL, ActiveReason.EXTERNAL, ActiveReason.DRY_RUN})  # 只说不做
W = TypeVar("W", bound=Worker)


def track(load: Load, memory: Memory, slots: int) -> Memory:
    """Return the memory with the rates after one more look at the counters, with so many slots at work."""
    return replace(memory, rates=observe(load, memory.rates, slots))


def horizon_s(memory: Memory) -> float:
    """Return how far ahead `due_soon` should look, in seconds: a pod ordered now is there by then."""
    return memory.boot_s + memory.rates.tick_s


def choose_victims(workers: Sequence[W], count: int) -> list[W]:
    """Return the `count` workers to cordon: the idle, then those that run the least; of equals the newest."""
    return sorted(workers, key=lambda worker: (worker.running, -worker.started_at.timestamp()))[: max(0, count)]


def decide(inputs: Inputs, spec: ScalingSpec, memory: Memory, *, terms: Collection[Term] = demand.OPTIONAL) -> Decision:
    """Return how many pods to have from now on. Call it once per observation; `terms` is for the simulator."""
    now, serving = inputs.now, inputs.pods.serving
    if not memory.decided:  # 控制器刚启动：一个稳定窗口内不低于现状
        found = ((now, serving),)
        memory = replace(memory, decided=found, recommended=found, last_active=now if serving else None)
    if inputs.boot_s is not None:  # 变慢马上信，变快慢慢信
        boot = max(inputs.boot_s, memory.boot_s + (inputs.boot_s - memory.boot_s) * c.BOOT_FALL)
        memory = replace(memory, boot_s=boot)
    if inputs.load is None:
        memory = replace(memory, failures=memory.failures + 1)
        asked = _blind(inputs, spec, memory)
    else:
        memory = replace(_seen(inputs, inputs.load, spec, memory), failures=0)
        asked = _needed(inputs, inputs.load, spec, memory, terms)
    return _settled(inputs, spec, memory, asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    """界限之前想要的数目。"""

    pods: int
    term: Term
    words: str
    reason: ActiveReason = ActiveReason.COMPUTING


def _seen(inputs: Inputs, load: Load, spec: ScalingSpec, memory: Memory) -> Memory:
    last, pods = memory.rates.last, inputs.pods
    memory = track(load, memory, (pods.ready + pods.draining) * inputs.concurrency)
    live = load.ready + load.running + (load.due_soon if spec.prewarm else 0)
    settled = last is not None and load.finished > last.finished
    return replace(memory, last_active=inputs.now) if live or settled else memory


def _blind(inputs: Inputs, spec: ScalingSpec, memory: Memory) -> _Asked:
    """不知道就不降；连续失败够多次才用回退值，从零也一样。"""
    hold = max(inputs.pods.serving, memory.decided[-1][1])
    words = f"the queue's numbers are unknown ({memory.failures} failures in a row)"
    if memory.failures < spec.failure_threshold or spec.fallback_behavior == "Hold" or spec.fallback_replicas is None:
        return _Asked(hold, Term.HOLD, f"{words}, holding {hold} pods", ActiveReason.METRICS_STALE)
    higher = spec.fallback_behavior == "StaticIfHigher" and hold > spec.fallback_replicas
    pods = hold if higher else spec.fallback_replicas
    return _Asked(pods, Term.FALLBACK, f"{words}, falling back to {pods} pods", ActiveReason.FALLBACK_ACTIVE)


def _needed(inputs: Inputs, load: Load, spec: ScalingSpec, memory: Memory, terms: Collection[Term]) -> _Asked:
    idle_for = inputs.now - memory.last_active if memory.last_active is not None else math.inf
    if idle_for >= spec.idle_s:
        return _Asked(0, Term.IDLE, "no task for " + (f"{idle_for:.0f} s" if idle_for < math.inf else "as long as known"))
    work = _work(inputs, load, spec, memory)
    slots, term = 1.0, Term.WARM
    for name, formula in demand.TERMS.items():
        if name in terms and (asks := formula(work)) > slots:
            slots, term = asks, name
    pods = math.ceil(slots / inputs.concurrency - ROUNDING)
    words = (
        f"{term.value} asks for {slots:.1f} slots of {inputs.concurrency} a pod: {load.ready} ready (oldest "
        f"{load.oldest_wait_s:.0f} s), {load.running} running, {load.due_soon} due soon, "
        f"{work.arrivals:.2g}/s x {work.service_s:.2g} s"
    )
    return _Asked(pods, term, words)


def _work(inputs: Inputs, load: Load, spec: ScalingSpec, memory: Memory) -> Work:
    pods, rates, size = inputs.pods, memory.rates, inputs.concurrency
    since_raise = inputs.now - memory.raised_at if memory.raised_at is not None else 0.0
    return Work(
        ready=load.ready, running=max(0, load.running - pods.draining_running),
        due_soon=load.due_soon if spec.prewarm else 0, oldest_s=load.oldest_wait_s,
        arrivals=rates.arrivals(load.oldest_wait_s), service_s=rates.pessimistic_s(load.oldest_wait_s), service_known=rates.known,
        latency_s=spec.start_latency_s, late=1 - spec.percentile / 100, utilization=spec.max_utilization / 100, slots=pods.ready * size,
        starting=pods.starting * size, boot_s=memory.boot_s, starting_s=max(0.0, memory.boot_s - since_raise),
        limit=spec.max_replicas * size, tick_s=rates.tick_s,
    )  # fmt: skip


def _caps(inputs: Inputs, spec: ScalingSpec) -> tuple[int, Limit]:
    """最紧的上限；预算与配额可以低于 minReplicas。"""
    caps = [(spec.max_replicas, Limit.MAX_REPLICAS)]
    if spec.database_connections is not None and inputs.connections_per_pod > 0:
        free = max(0, spec.database_connections - inputs.connections_used)
        caps.append((free // inputs.connections_per_pod, Limit.DATABASE_CONNECTIONS))
    if inputs.quota_pods is not None:
        caps.append((inputs.quota_pods, Limit.QUOTA_EXCEEDED))
    return min(caps, key=lambda cap: cap[0])


def _settled(inputs: Inputs, spec: ScalingSpec, memory: Memory, asked: _Asked) -> Decision:
    """依次过：下限、稳定窗口、上限、速率；硬上限最后再压一次。"""
    now, (cap, cap_limit) = inputs.now, _caps(inputs, spec)
    pods, term, limit = asked.pods, asked.term, Limit.NOT_LIMITED
    if pods < spec.min_replicas:
        pods, limit = spec.min_replicas, Limit.MIN_REPLICAS
    window = spec.scale_down_stabilization_s
    if term is Term.IDLE:  # idleSeconds 已经等过了
        memory = replace(memory, recommended=())
    memory = replace(memory, recommended=windows.extend(memory.recommended, now, pods, window))
    highest = max(windows.since(memory.recommended, now - window))
    words = asked.words
    if highest > pods and term is not Term.FALLBACK:
        words += f"; {pods} pods would do, but {highest} were asked for within {window:.0f} s"
        pods, term, limit = highest, Term.STABILIZATION, Limit.NOT_LIMITED
    if pods > cap:
        pods, limit = cap, cap_limit
    paced = max(min(_paced(pods, inputs, spec, memory), cap), min(spec.min_replicas, cap))
    if paced != pods:
        pods, limit = paced, Limit.RATE_LIMITED
    if limit is not Limit.NOT_LIMITED:
        words += f"; limited by {limit.value}"
    reason = _mode(inputs, spec) or asked.reason
    acted = inputs.pods.serving if reason in PASSIVE else pods
    if acted != pods:
        words += f"; would be {pods}, but {reason.value} leaves it"
    memory = _remember(now, spec, memory, acted)
    return Decision(acted, pods, reason, term, limit, f"{acted} pods: {words}", memory)


def _mode(inputs: Inputs, spec: ScalingSpec) -> ActiveReason | None:
    if inputs.suspended:
        return ActiveReason.SUSPENDED
    if spec.mode != "Auto":
        return ActiveReason(spec.mode)
    return ActiveReason.DRY_RUN if spec.dry_run else None


def _paced(pods: int, inputs: Inputs, spec: ScalingSpec, memory: Memory) -> int:
    """一个周期内最多升、降多少：与周期内的最低、最高值比。升得慢不等于把已有的降下来。"""
    now = inputs.now
    if spec.scale_up_max_pods is not None:
        lowest = min(windows.since(memory.decided, now - spec.scale_up_period_s))
        pods = min(pods, max(inputs.pods.serving, lowest + spec.scale_up_max_pods))
    if spec.scale_down_max_pods is not None:
        pods = max(pods, max(windows.since(memory.decided, now - spec.scale_down_period_s)) - spec.scale_down_max_pods)
    return pods


def _remember(now: float, spec: ScalingSpec, memory: Memory, pods: int) -> Memory:
    raised = pods > memory.decided[-1][1]
    span = max(spec.scale_up_period_s, spec.scale_down_period_s)
    return replace(
        memory, decided=windows.extend(memory.decided, now, pods, span), raised_at=now if raised else memory.raised_at
    )
