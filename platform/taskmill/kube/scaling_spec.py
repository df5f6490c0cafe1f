"""`spec.scaling` of a TaskQueue in the words of the scaler: the one place where the CRD meets the formula."""

from __future__ import annotations

from taskmill.kube.crd.model import TaskQueue
from taskmill.kube.scale.decide import ScalingSpec


def scaling_spec(queue: TaskQueue) -> ScalingSpec:
    """Return `spec.scaling` in the words of the scaler."""
    scaling = queue.spec.scaling
    return ScalingSpec(
        mode=scaling.mode,
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        start_latency_s=float(scaling.objective.start_latency_seconds),
        percentile=scaling.objective.percentile,
        max_utilization=scaling.max_utilization,
        idle_s=float(scaling.idle_seconds),
        prewarm=scaling.prewarm == "Auto",
        scale_up_max_pods=scaling.scale_up.max_pods,
        scale_up_period_s=float(scaling.scale_up.period_seconds),
        scale_down_stabilization_s=float(scaling.scale_down.stabilization_seconds),
        scale_down_max_pods=scaling.scale_down.max_pods,
        scale_down_period_s=float(scaling.scale_down.period_seconds),
        failure_threshold=scaling.fallback.failure_threshold,
        fallback_behavior=scaling.fallback.behavior,
        fallback_replicas=scaling.fallback.replicas,
        database_connections=scaling.limits.database_connections,
        dry_run=scaling.dry_run,
    )
