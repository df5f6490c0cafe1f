"""How many pods a queue needs: a pure function of what was counted, what was asked for, and what is remembered.

    decision = decide(inputs, spec, memory)     # 每个周期一次；下次用 decision.memory

It only says a number. Cordoning, finishing and deleting are the drain's affair, so lowering the number interrupts
nothing, and raising it first takes back pods that were about to leave.
Invariants, each held by a test: (1) min ≤ pods ≤ max, unless a budget caps below min; (2) unknown data never lowers;
(3) more ready tasks never mean fewer pods; (4) a constant load settles on one number; (5) from zero straight to n.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from taskmill import constants as c
from taskmill.kube.arrivals import Load, Rates


class Reason(StrEnum):
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
    INEFFECTIVE_SCALE_UP = "IneffectiveScaleUp"


class Term(StrEnum):
    """The part of the formula that asked for the most."""

    IDLE = "idle"
    WARM = "warm"
    LOAD = "load"
    BACKLOG = "backlog"
    TIMERS = "timers"
    STABILIZATION = "stabilization"
    FALLBACK = "fallback"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSpec:
    """`spec.scaling` of a TaskQueue; times in seconds, percentages as whole numbers. The defaults are the schema's."""

    mode: Literal["Auto", "Manual", "External"] = "Auto"
    min_replicas: int = 0
    max_replicas: int = 10
    start_latency_s: float = 30.0
    percentile: int = 95
    max_utilization: int = 80
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


Points = tuple[tuple[float, int], ...]  # (时刻, 值)：值从该时刻起有效，直到下一个点


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
    reason: Reason
    term: Term
    limited_by: Limit
    explanation: str
    memory: Memory
