"""`spec.scaling`: how many workers a queue has, and who says so."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from taskmill.kube.crd.schema import Checks, Record, Rule, about, whole

PODS_MAX: Final = 5000  # 一个 Deployment 的上限，与 Kubernetes 的设计规模一致
DAY_S: Final = 86_400
HOUR_S: Final = 3_600

MIN_OVER_MAX: Final = "minReplicas must not be above maxReplicas"
FALLBACK_NEEDS_REPLICAS: Final = "fallback.replicas is needed when fallback.behavior is Static or StaticIfHigher"
FALLBACK_OVER_MAX: Final = "fallback.replicas must not be above maxReplicas"
DRY_RUN_OUTSIDE_AUTO: Final = "dryRun publishes what mode Auto would do: it means nothing in mode Manual or External"


class Objective(Record, frozen=True):
    """The promise that mode Auto keeps: how long a task may wait from the moment it is due until it starts."""

    start_latency_seconds: Annotated[int, whole("Longest wait, in seconds.", 1, DAY_S)] = 30
    percentile: Annotated[int, whole("Share of the tasks that start in time, in percent.", 50, 99)] = 95


class ScaleUp(Record, frozen=True):
    """Brake on growing."""

    max_pods: (
        Annotated[int, whole("Most pods added within a period. Absent: straight to what is needed.", 1, PODS_MAX)] | None
    ) = None
    period_seconds: Annotated[int, whole("Length of the period.", 1, HOUR_S)] = 15


class ScaleDown(Record, frozen=True):
    """Brake on shrinking."""

    stabilization_seconds: Annotated[int, whole("The highest number wanted within this time is kept.", 0, HOUR_S)] = 60
    max_pods: Annotated[int, whole("Most pods drained within a period. Absent: no bound.", 1, PODS_MAX)] | None = None
    period_seconds: Annotated[int, whole("Length of the period.", 1, HOUR_S)] = 60


class Fallback(Record, frozen=True):
    """What to do while the backlog cannot be read. Unknown never counts as empty."""

    failure_threshold: Annotated[int, whole("Failed readings in a row before it applies.", 1, 100)] = 3
    behavior: Annotated[
        Literal["Hold", "Static", "StaticIfHigher"],
        about("Hold: stay. Static: `replicas`. StaticIfHigher: `replicas` or the present number, whichever is higher."),
    ] = "Hold"
    replicas: Annotated[int, whole("Pods for Static and StaticIfHigher.", 0, PODS_MAX)] | None = None


class Limits(Record, frozen=True):
    """What else bounds the number of pods."""

    database_connections: (
        Annotated[
            int, whole("Connections to PostgreSQL that all pods of this queue together may hold. Absent: no bound.", 1, 100_000)
        ]
        | None
    ) = None  # fmt: skip


class Scaling(Record, frozen=True):
    """How many worker pods there are. In mode Auto the operator computes it every few seconds from the backlog in
    PostgreSQL, so that tasks start within `objective`; scaling in never interrupts a task: a pod stops taking tasks,
    finishes, and only then goes.
    """

    CHECKS: ClassVar[Checks] = (
        Rule(
            "self.minReplicas <= self.maxReplicas", MIN_OVER_MAX, ".minReplicas",
            holds=lambda it: it.min_replicas <= it.max_replicas,
        ),
        Rule(
            "self.fallback.behavior == 'Hold' || has(self.fallback.replicas)", FALLBACK_NEEDS_REPLICAS,
            ".fallback.replicas", reason="FieldValueRequired",
            holds=lambda it: it.fallback.behavior == "Hold" or it.fallback.replicas is not None,
        ),
        Rule(
            "!has(self.fallback.replicas) || self.fallback.replicas <= self.maxReplicas", FALLBACK_OVER_MAX,
            ".fallback.replicas", holds=lambda it: (it.fallback.replicas or 0) <= it.max_replicas,
        ),
        Rule(
            "self.mode == 'Auto' || !self.dryRun", DRY_RUN_OUTSIDE_AUTO, ".dryRun", reason="FieldValueForbidden",
            holds=lambda it: it.mode == "Auto" or not it.dry_run,
        ),
    )  # fmt: skip

    mode: Annotated[
        Literal["Auto", "Manual", "External"],
        about(
            "Who decides. Auto: the operator. Manual: `spec.replicas` (`kubectl scale`). External: an HPA or KEDA that targets the "
            "scale subresource of this TaskQueue; victims are still drained."
        ),
    ] = "Auto"
    min_replicas: Annotated[int, whole("Fewest pods; 0: none while the queue is idle.", 0, PODS_MAX)] = 0
    max_replicas: Annotated[int, whole("Most pods.", 1, PODS_MAX)] = 10
    objective: Objective = Objective()
    max_utilization: Annotated[
        int,
        whole("Share of all slots that may be busy in steady state, in percent. The rest is room for bursts.", 10, 100),
    ] = 90
    idle_seconds: Annotated[
        int, whole("For how long the queue must be empty before it shrinks to minReplicas.", 0, DAY_S)
    ] = 300
    prewarm: Annotated[
        Literal["Auto", "Off"],
        about("Auto: start pods before scheduled tasks are due, by the time that pods here need to start."),
    ] = "Auto"
    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()
    fallback: Fallback = Fallback()
    limits: Limits = Limits()
    dry_run: Annotated[bool, about("Publish the decision in status.scaling, but leave the number of pods as it is.")] = False
