"""The status of TaskQueue: what is, as the operator saw it last."""

from __future__ import annotations

from taskmill.kube.crd import schema as s
from taskmill.kube.crd.schema import Schema

COUNT_MAX = 2**31 - 1


def queue_status() -> Schema:
    """Return the schema of TaskQueue's status."""
    return s.record(
        "What the operator observed and did; written at most every 15 s unless a condition changes.",
        {
            "observedGeneration": s.generation("The generation of the spec that this status is about."),
            "selector": s.string("Label selector of the pods, for the scale subresource.", limit=s.TEXT_MAX),
            "replicas": _count("Pods that exist."),
            "readyReplicas": _count("Pods that take tasks."),
            "updatedReplicas": _count("Pods of the newest template."),
            "desiredReplicas": _count("Pods wanted now."),
            "busyReplicas": _count("Pods that run at least one task."),
            "drainingReplicas": _count("Pods that take no more tasks and finish what they run."),
            "work": _work(),
            "scaling": _scaling(),
            "migration": _migration(),
            "revision": _revision(),
            "queue": s.record("The queue's policy as the database has it.", {
                "paused": s.boolean("Whether no task is started."),
                "retentionSeconds": _count("For how long finished tasks are kept; absent: as the platform is set."),
            }),
            "interruptedTotal": _count("Tasks that scaling in has cut short, ever. Not 0 is a bug or a force from outside."),
            "conditions": s.conditions(
                "Ready, Reconciling, Stalled, Migrated, ScalingActive, ScalingLimited, Draining; reasons are stable."
            ),
        },
    )  # fmt: skip


def _count(about: str) -> Schema:
    return s.integer(about, 0, COUNT_MAX)


def _work() -> Schema:
    return s.record(
        "The backlog, rounded.",
        {
            "ready": _count("Tasks that could start now."),
            "running": _count("Tasks that run."),
            "dueSoon": _count("Scheduled tasks that are due before a new pod could be up."),
            "oldestWaitSeconds": _count("How long the oldest ready task has waited."),
            "arrivalsPerSecond": s.string("Tasks that become ready per second.", limit=32),
            "meanServiceSeconds": s.string("Mean run time of a task, in seconds.", limit=32),
            "source": s.string("Where it comes from: Postgres, or Stale while the database does not answer.", limit=32),
        },
    )


def _scaling() -> Schema:
    return s.record(
        "The last decision about the number of pods, and why.",
        {
            "recommended": _count("What the formula says, before limits that are outside of it."),
            "reason": s.string("The term that won.", limit=128),
            "limitedBy": s.string("What kept it from more or fewer pods.", limit=128),
            "explanation": s.string("The decision in one sentence, with its inputs.", limit=s.TEXT_MAX),
            "lastScaleTime": s.time("When the number of pods last changed."),
            "lastActiveTime": s.time("When there last was work."),
            "failures": _count("Readings of the backlog that failed in a row."),
        },
    )


def _migration() -> Schema:
    return s.record(
        "The migration that the workers of this image waited for.",
        {
            "bundle": s.string("Hash of image, plugins and settings that the migration is for.", limit=64),
            "databaseRevision": s.string("Revision that the database is at.", limit=128),
            "job": s.string("Name of the Job."),
            "startedAt": s.time("When the Job began."),
            "completedAt": s.time("When the Job ended."),
            "message": s.string("What it said last.", limit=s.TEXT_MAX),
        },
    )


def _revision() -> Schema:
    return s.record(
        "Templates of the pods.",
        {
            "current": s.string("Bundle that all pods had last.", limit=64),
            "updated": s.string("Bundle that is rolled out.", limit=64),
            "templateVersion": _count("Version of the operator's renderer that made the template."),
        },
    )
