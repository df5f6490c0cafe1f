"""The status of TaskQueue: what is, as the operator saw it last. What is None is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import field

from taskmill.kube.crd.policy import Policy
from taskmill.kube.crd.schema import TEXT_MAX, Object, about, count, generation, keyed, text, time


class Observed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of a status."""


class Condition(Observed, frozen=True, kw_only=True):
    """One condition, as in metav1.Condition."""

    type: Annotated[str, text("Which condition.", limit=316)]
    status: Annotated[Literal["True", "False", "Unknown"], about("Whether it holds.")]
    observed_generation: Annotated[int, generation("The generation that this condition is about.")] | None = None
    last_transition_time: Annotated[str, time("When the status last changed.")]
    reason: Annotated[str, text("Stable machine-readable reason.", limit=TEXT_MAX, least=1)]
    message: Annotated[str, text("What happened and what to do, for people.", limit=32768)]


class WorkStatus(Observed, frozen=True):
    """The backlog, rounded."""

    ready: Annotated[int, count("Tasks that could start now.")] | None = None
    running: Annotated[int, count("Tasks that run.")] | None = None
    due_soon: Annotated[int, count("Scheduled tasks that are due before a new pod could be up.")] | None = None
    oldest_wait_seconds: Annotated[int, count("How long the oldest ready task has waited.")] | None = None
    arrivals_per_second: Annotated[str, text("Tasks that become ready per second.", limit=32)] | None = None
    mean_service_seconds: Annotated[str, text("Mean run time of a task, in seconds.", limit=32)] | None = None
    source: (
        Annotated[str, text("Where it comes from: Postgres, or Stale while the database does not answer.", limit=32)] | None
    ) = None


class ScalingStatus(Observed, frozen=True):
    """The last decision about the number of pods, and why."""

    recommended: Annotated[int, count("What the formula says, before limits that are outside of it.")] | None = None
    reason: Annotated[str, text("The term that won.", limit=128)] | None = None
    limited_by: Annotated[str, text("What kept it from more or fewer pods.", limit=128)] | None = None
    explanation: Annotated[str, text("The decision in one sentence, with its inputs.", limit=TEXT_MAX)] | None = None
    last_scale_time: Annotated[str, time("When the number of pods last changed.")] | None = None
    last_active_time: Annotated[str, time("When there last was work.")] | None = None
    failures: Annotated[int, count("Readings of the backlog that failed in a row.")] | None = None


class MigrationStatus(Observed, frozen=True):
    """The migration that the workers of this image waited for."""

    bundle: Annotated[str, text("Hash of image, plugins and settings that the migration is for.", limit=64)] | None = None
    database_revision: Annotated[str, text("Revision that the database is at.", limit=128)] | None = None
    job: Annotated[str, text("Name of the Job.")] | None = None
    started_at: Annotated[str, time("When the Job began.")] | None = None
    completed_at: Annotated[str, time("When the Job ended.")] | None = None
    message: Annotated[str, text("What it said last.", limit=TEXT_MAX)] | None = None


class RevisionStatus(Observed, frozen=True):
    """Templates of the pods."""

    current: Annotated[str, text("Bundle that all pods had last.", limit=64)] | None = None
    updated: Annotated[str, text("Bundle that is rolled out.", limit=64)] | None = None
    template_version: Annotated[int, count("Version of the operator's renderer that made the template.")] | None = None


class PolicyStatus(Observed, frozen=True):
    """The queue's policy as the database has it."""

    paused: Annotated[bool, about("Whether no task is started.")] | None = None
    retention_seconds: (
        Annotated[int, count("For how long finished tasks are kept; absent: as the platform is set.")] | None
    ) = None
    policy: (
        Annotated[Policy, about("What spec.policy says and the database has: the settings that the operator owns.")] | None
    ) = None


class QueueStatus(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What the operator observed and did; written at most every 15 s unless a condition changes."""

    SHAPES: ClassVar[Mapping[str, type[msgspec.Struct]]] = {"conditions": Condition}

    observed_generation: Annotated[int, generation("The generation of the spec that this status is about.")] | None = None
    selector: Annotated[str, text("Label selector of the pods, for the scale subresource.", limit=TEXT_MAX)] | None = None
    replicas: Annotated[int, count("Pods that exist.")] | None = None
    ready_replicas: Annotated[int, count("Pods that take tasks.")] | None = None
    updated_replicas: Annotated[int, count("Pods of the newest template.")] | None = None
    desired_replicas: Annotated[int, count("Pods wanted now.")] | None = None
    busy_replicas: Annotated[int, count("Pods that run at least one task.")] | None = None
    draining_replicas: Annotated[int, count("Pods that take no more tasks and finish what they run.")] | None = None
    work: WorkStatus | None = None
    scaling: ScalingStatus | None = None
    migration: MigrationStatus | None = None
    revision: RevisionStatus | None = None
    queue: PolicyStatus | None = None
    interrupted_total: (
        Annotated[int, count("Tasks that scaling in has cut short, ever. Not 0 is a bug or a force from outside.")] | None
    ) = None
    conditions: Annotated[
        list[Object],
        keyed(
            "Ready, Reconciling, Stalled, Migrated, BrokerReachable, KindsServed, ScalingActive, ScalingLimited, Draining; reasons are stable.",
            "type", limit=16,
        ),
    ] = field(default_factory=list)  # fmt: skip
