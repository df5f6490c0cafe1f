"""Conditions as Kubernetes wants them: each with the time of its last transition, in kstatus' words; events from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from taskmill.kube import constants as c
from taskmill.kube.plan.reasons import Reason
from taskmill.kube.state import Event, Manifest

Type = Literal[
    "Ready", "Reconciling", "Stalled", "Migrated", "BrokerReachable", "KindsServed", "ScalingActive", "ScalingLimited", "Draining",
]  # fmt: skip
ORDER: Final[tuple[Type, ...]] = (
    "Ready", "Reconciling", "Stalled", "Migrated", "BrokerReachable", "KindsServed", "ScalingActive", "ScalingLimited", "Draining",
)  # fmt: skip
WORDS: Final = {True: "True", False: "False", None: "Unknown"}

# 条件的 (类型, 新 reason) → 事件；旧 reason 不同才发
_ENTERED: Final[dict[tuple[str, str], tuple[Literal["Normal", "Warning"], str]]] = {
    ("Ready", Reason.CONNECTION_SECRET_MISSING): ("Warning", "SecretMissing"),
    ("Ready", Reason.CONNECTION_INVALID): ("Warning", "ConnectionInvalid"),
    ("Ready", Reason.IMAGE_PULL_FAILED): ("Warning", "ImagePullFailed"),
    ("Ready", Reason.WORKERS_FAILING): ("Warning", "WorkersFailing"),
    ("Ready", Reason.WORKERS_UNSCHEDULABLE): ("Warning", "WorkersUnschedulable"),
    ("Ready", Reason.QUOTA_EXCEEDED): ("Warning", "QuotaExceeded"),
    ("Ready", Reason.PODS_REFUSED): ("Warning", "PodsRefused"),
    ("Ready", Reason.ADMISSION_REFUSED): ("Warning", "AdmissionRefused"),
    ("Ready", Reason.ROLLOUT_STUCK): ("Warning", "RolloutStuck"),
    ("Ready", Reason.INVALID_SPEC): ("Warning", "InvalidSpec"),
    ("Ready", Reason.QUEUE_NAME_TAKEN): ("Warning", "QueueNameTaken"),
    ("Ready", Reason.OBJECT_NAME_TAKEN): ("Warning", "ObjectNameTaken"),
    ("Ready", Reason.DATABASE_UNREACHABLE): ("Warning", "DatabaseUnreachable"),
    ("Ready", Reason.PAUSED): ("Normal", "Paused"),
    ("Ready", Reason.SCHEDULE_REFUSED): ("Warning", "ScheduleRefused"),
    ("Ready", Reason.SCHEDULE_NAME_TAKEN): ("Warning", "ScheduleNameTaken"),
    ("Migrated", Reason.JOB_STUCK): ("Warning", "MigrationStuck"),
    ("Migrated", Reason.CONTRACT_STUCK): ("Warning", "MigrationStuck"),
    ("Migrated", Reason.JOB_FAILED): ("Warning", "MigrationFailed"),
    ("Migrated", Reason.CONTRACT_FAILED): ("Warning", "MigrationFailed"),
    ("Migrated", Reason.SCHEMA_AHEAD): ("Warning", "SchemaAhead"),
    ("Migrated", Reason.MANUAL): ("Normal", "MigrationSuspended"),
    ("BrokerReachable", Reason.BROKER_UNREACHABLE): ("Warning", "BrokerUnreachable"),
    ("KindsServed", Reason.KINDS_NOT_SERVED): ("Warning", "KindsNotServed"),
    ("ScalingActive", Reason.METRICS_STALE): ("Warning", "MetricsStale"),
    ("ScalingActive", Reason.FALLBACK_ACTIVE): ("Warning", "FallbackActivated"),
    ("Draining", Reason.WORKERS_DRAINING): ("Normal", "DrainStarted"),
    ("Draining", Reason.DRAIN_TIMED_OUT): ("Warning", "DrainTimedOut"),
}
# 条件的 (类型, 旧 reason) → 离开它时的事件
_LEFT: Final[dict[tuple[str, str], str]] = {
    ("Ready", Reason.PAUSED): "Resumed",
    ("ScalingActive", Reason.FALLBACK_ACTIVE): "FallbackDeactivated",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition as it is now; `status` None: unknown."""

    type: Type
    status: bool | None
    reason: str
    message: str = ""


def verdict(condition: Manifest) -> Verdict:
    """Return what a condition says, without its times."""
    status = {words: status for status, words in WORDS.items()}[condition["status"]]
    return Verdict(condition["type"], status, condition["reason"], condition.get("message", ""))


def merge(old: Sequence[Manifest], verdicts: Iterable[Verdict], generation: int, now: datetime) -> list[Manifest]:
    """Return the conditions; a status that stays the same keeps the time of its last transition."""
    by_type = {condition.get("type"): condition for condition in old}
    made: list[Manifest] = []
    for verdict in sorted(verdicts, key=lambda each: ORDER.index(each.type)):
        before, status = by_type.get(verdict.type), WORDS[verdict.status]
        same = before is not None and before.get("status") == status and "lastTransitionTime" in before
        made.append({
            "type": verdict.type,
            "status": status,
            "reason": str(verdict.reason),
            "message": bounded(verdict.message),
            "lastTransitionTime": before["lastTransitionTime"] if same and before else stamp(now),
            "observedGeneration": generation,
        })  # fmt: skip
    return made


def transitions(old: Sequence[Manifest], new: Sequence[Manifest]) -> tuple[Event, ...]:
    """Return the events of the changes between two lists of conditions: one per reason that is entered or left."""
    before = {str(condition.get("type")): condition for condition in old}
    found: list[Event] = []
    for condition in new:
        kind, reason, message = str(condition["type"]), str(condition["reason"]), str(condition["message"])
        past = str(before.get(kind, {}).get("reason", ""))
        if past == reason:
            continue
        if left := _LEFT.get((kind, past)):
            found.append(Event("Normal", left, message))
        if entered := _ENTERED.get((kind, reason)):
            found.append(Event(*entered, message))
        elif kind == "Draining" and reason == str(Reason.NONE) and past:
            found.append(Event("Normal", "DrainCompleted", "no worker drains any more"))
    return tuple(found)


def reason_of(conditions: Iterable[Mapping[str, Any]], kind: Type) -> str:
    """Return the reason that a condition has in a status, empty if it is not there."""
    return next((str(each["reason"]) for each in conditions if each.get("type") == kind), "")


def bounded(message: str) -> str:
    """Return a message that is not too long for a condition or an event."""
    limit = c.CONDITION_MESSAGE_MAX
    return message if len(message) <= limit else message[: limit - 1] + "…"


def stamp(at: datetime) -> str:
    """Return a time as Kubernetes writes it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
