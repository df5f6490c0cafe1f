"""Every reason that a condition can have. Reasons are API: they are documented and never renamed within a version."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """The reasons with one sentence each; those of ScalingActive and ScalingLimited repeat the scaler's."""

    about: str

    def __new__(cls, value: str, about: str) -> Self:  # noqa: D102 - 枚举的构造
        made = str.__new__(cls, value)
        made._value_ = value
        made.about = about
        return made

    # Ready
    AS_DESIRED = "AsDesired", "Workers, schema and policy are as the spec says."
    PENDING = "Pending", "No operator has looked at it yet: none runs, or none watches the namespace."
    CLAIMED = "ClaimedByOther", "It waits for another operator, which the Lease of its namespace names; see the message."
    WORKERS_STARTING = "WorkersStarting", "Workers are wanted and none of them is ready yet."
    ROLLING_OUT = "RollingOut", "A new template replaces the old workers, each after its tasks are done."
    ROLLOUT_WAITING = "RolloutWaiting", "A new template waits: as many rollouts as allowed are running."
    ROLLOUT_STUCK = "RolloutStuck", "The rollout makes no progress; the Deployment says why."
    MIGRATION_PENDING = "MigrationPending", "Workers of the new image wait for the migration of the database."
    MIGRATION_FAILED = "MigrationFailed", "The migration failed; the old workers go on, the rollout is frozen."
    CONNECTION_SECRET_MISSING = (
        "ConnectionSecretMissing",
        "A Secret or ConfigMap that the spec names, or a key of it, is missing.",
    )
    CONNECTION_INVALID = "ConnectionInvalid", "The Secret is there, and what it holds is no URL that can be used."
    IMAGE_PULL_FAILED = "ImagePullFailed", "The image cannot be pulled."
    WORKERS_FAILING = "WorkersFailing", "Workers end again and again before they are ready; their log says why."
    WORKERS_UNSCHEDULABLE = "WorkersUnschedulable", "No node has room for the workers, or may take them."
    QUOTA_EXCEEDED = "QuotaExceeded", "A quota of the namespace allows no more of what is to be made."
    PODS_REFUSED = "PodsRefused", "The API server refuses the pods, for example for the namespace's Pod Security level."
    ADMISSION_REFUSED = (
        "AdmissionRefused",
        "A policy or webhook of the cluster refuses an object; the message has its words.",
    )
    INVALID_SPEC = "InvalidSpec", "The spec cannot be carried out; the message names the field."
    QUEUE_NAME_TAKEN = "QueueNameTaken", "An older TaskQueue serves the same queue of the same database."
    OBJECT_NAME_TAKEN = (
        "ObjectNameTaken",
        "An object that the operator would make exists already and belongs to somebody else.",
    )
    SUSPENDED = "Suspended", "The stop policy holds the queue, or somebody has paused it in the database."
    PAUSED = "Paused", "The annotation taskmill.dev/paused stops the operator from writing."
    DRAINING = "Draining", "The TaskQueue is being deleted; running tasks are finished first."
    DATABASE_UNREACHABLE = "DatabaseUnreachable", "The database does not answer; the number of workers stays as it is."
    BROKER_UNREACHABLE = "BrokerUnreachable", "Workers cannot reach Valkey; the message has what it said to them."
    KINDS_NOT_SERVED = (
        "KindsNotServed",
        "Tasks wait whose kind no worker of the queue serves; the message names kinds and plugins.",
    )
    FORBIDDEN = "Forbidden", "The operator lacks a right; the message says which verb on which object."
    INTERNAL_ERROR = "InternalError", "The operator has a bug; its log has the details."

    # Reconciling 与 Stalled
    IN_PROGRESS = "InProgress", "The operator is on its way to what the spec says."
    SETTLED = "Settled", "There is nothing left to do."
    NOT_STALLED = "NotStalled", "The operator goes on by itself."

    # Migrated
    UP_TO_DATE = "UpToDate", "The database has what the image needs."
    JOB_RUNNING = "JobRunning", "A migration Job runs, or waits for another one to end."
    JOB_STUCK = "JobStuck", "The pod of the migration Job does not start; the message says why."
    JOB_FAILED = "JobFailed", "The migration Job failed; the message has its last words."
    CONTRACT_STUCK = (
        "ContractStuck",
        "The pod of the clean-up phase of the migration does not start; workers are not affected, the message says why.",
    )
    CONTRACT_FAILED = "ContractFailed", "The clean-up phase of the migration failed; workers are not affected."
    SCHEMA_AHEAD = "SchemaAhead", "The database is newer than the image can read."
    MANUAL = "Manual", "Somebody else decides: the migration Job is suspended, or spec.replicas holds."
    SKIPPED = "Skipped", "Somebody else migrates the database."
    WAITING_FOR_LOCK = "WaitingForLock", "The migration waits for another one that holds the database's lock."
    UNKNOWN = "Unknown", "It cannot be known yet."

    # BrokerReachable 与 KindsServed
    REACHABLE = "Reachable", "All workers reach Valkey."
    SERVED = "Served", "Workers serve the kind of every task that was offered to them."

    # ScalingActive
    COMPUTING = "Computing", "The operator computes the number of workers from the backlog."
    DRY_RUN = "DryRun", "The number is computed and published, but not acted upon."
    EXTERNAL = "External", "An autoscaler sets the number through the scale subresource."
    METRICS_STALE = "MetricsStale", "The backlog is unknown; the number of workers is not lowered."
    FALLBACK_ACTIVE = "FallbackActive", "The backlog has been unknown for long; the fallback holds."

    # ScalingLimited
    NOT_LIMITED = "NotLimited", "Nothing keeps the number from what the load asks for."
    MAX_REPLICAS = "MaxReplicas", "More are needed than maxReplicas allows."
    MIN_REPLICAS = "MinReplicas", "Fewer are needed than minReplicas demands."
    RATE_LIMITED = "RateLimited", "scaleUp or scaleDown slows the change."
    DATABASE_CONNECTIONS = "DatabaseConnections", "limits.databaseConnections allows no more."

    # Draining
    WORKERS_DRAINING = "WorkersDraining", "Workers finish their tasks before they go."
    DRAIN_TIMED_OUT = "DrainTimedOut", "Workers still run tasks after drain.timeoutSeconds."
    NONE = "None", "No worker drains."

    # TaskSchedule
    SCHEDULED = "Scheduled", "The database has the schedule."
    SCHEDULE_SUSPENDED = "ScheduleSuspended", "The database has the schedule, and it does not fire."
    SCHEDULE_REFUSED = "ScheduleRefused", "The database refuses the schedule; the message says why."
    SCHEDULE_NAME_TAKEN = "ScheduleNameTaken", "Something else already owns a schedule of this name in the database."
