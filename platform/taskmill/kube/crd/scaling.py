"""`spec.scaling`: how many workers a queue has, and who says so."""

from __future__ import annotations

from taskmill.kube.crd import schema as s
from taskmill.kube.crd.schema import Schema

PODS_MAX = 5000  # 一个 Deployment 的上限，与 Kubernetes 的设计规模一致
DAY_S = 86_400
HOUR_S = 3_600

MIN_OVER_MAX = "minReplicas must not be above maxReplicas"
FALLBACK_NEEDS_REPLICAS = "fallback.replicas is needed when fallback.behavior is Static or StaticIfHigher"
FALLBACK_OVER_MAX = "fallback.replicas must not be above maxReplicas"
DRY_RUN_OUTSIDE_AUTO = "dryRun publishes what mode Auto would do: it means nothing in mode Manual or External"


def scaling() -> Schema:
    """Return `spec.scaling`."""
    return s.record(
        "How many worker pods there are. In mode Auto the operator computes it every few seconds from the backlog in PostgreSQL, so that "
        "tasks start within `objective`; scaling in never interrupts a task: a pod stops taking tasks, finishes, and only then goes.",
        {
            "mode": s.choice(
                "Who decides. Auto: the operator. Manual: `spec.replicas` (`kubectl scale`). External: an HPA or KEDA that targets the "
                "scale subresource of this TaskQueue; victims are still drained.",
                "Auto", "Manual", "External", default="Auto",
            ),
            "minReplicas": s.integer("Fewest pods; 0: none while the queue is idle.", 0, PODS_MAX, default=0),
            "maxReplicas": s.integer("Most pods.", 1, PODS_MAX, default=10),
            "objective": _objective(),
            "maxUtilization": s.integer(
                "Share of all slots that may be busy in steady state, in percent. The rest is room for bursts.", 10, 100, default=90
            ),
            "idleSeconds": s.integer("For how long the queue must be empty before it shrinks to minReplicas.", 0, DAY_S, default=300),
            "prewarm": s.choice(
                "Auto: start pods before scheduled tasks are due, by the time that pods here need to start.", "Auto", "Off",
                default="Auto",
            ),
            "scaleUp": _scale_up(),
            "scaleDown": _scale_down(),
            "fallback": _fallback(),
            "limits": s.record("What else bounds the number of pods.", {
                "databaseConnections": s.integer(
                    "Connections to PostgreSQL that all pods of this queue together may hold. Absent: no bound.", 1, 100_000
                ),
            }),
            "dryRun": s.boolean("Publish the decision in status.scaling, but leave the number of pods as it is.", default=False),
        },
        rules=[
            s.rule("self.minReplicas <= self.maxReplicas", MIN_OVER_MAX, path=".minReplicas"),
            s.rule("self.fallback.behavior == 'Hold' || has(self.fallback.replicas)", FALLBACK_NEEDS_REPLICAS,
                   path=".fallback.replicas", reason="FieldValueRequired"),
            s.rule("!has(self.fallback.replicas) || self.fallback.replicas <= self.maxReplicas", FALLBACK_OVER_MAX,
                   path=".fallback.replicas"),
            s.rule("self.mode == 'Auto' || !self.dryRun", DRY_RUN_OUTSIDE_AUTO, path=".dryRun", reason="FieldValueForbidden"),
        ],
    )  # fmt: skip


def _objective() -> Schema:
    return s.record(
        "The promise that mode Auto keeps: how long a task may wait from the moment it is due until it starts.",
        {
            "startLatencySeconds": s.integer("Longest wait, in seconds.", 1, DAY_S, default=30),
            "percentile": s.integer("Share of the tasks that start in time, in percent.", 50, 99, default=95),
        },
    )


def _scale_up() -> Schema:
    return s.record(
        "Brake on growing.",
        {
            "maxPods": s.integer("Most pods added within a period. Absent: straight to what is needed.", 1, PODS_MAX),
            "periodSeconds": s.integer("Length of the period.", 1, HOUR_S, default=15),
        },
    )


def _scale_down() -> Schema:
    return s.record(
        "Brake on shrinking.",
        {
            "stabilizationSeconds": s.integer("The highest number wanted within this time is kept.", 0, HOUR_S, default=60),
            "maxPods": s.integer("Most pods drained within a period. Absent: no bound.", 1, PODS_MAX),
            "periodSeconds": s.integer("Length of the period.", 1, HOUR_S, default=60),
        },
    )


def _fallback() -> Schema:
    return s.record(
        "What to do while the backlog cannot be read. Unknown never counts as empty.",
        {
            "failureThreshold": s.integer("Failed readings in a row before it applies.", 1, 100, default=3),
            "behavior": s.choice(
                "Hold: stay. Static: `replicas`. StaticIfHigher: `replicas` or the present number, whichever is higher.",
                "Hold", "Static", "StaticIfHigher", default="Hold",
            ),
            "replicas": s.integer("Pods for Static and StaticIfHigher.", 0, PODS_MAX),
        },
    )  # fmt: skip
