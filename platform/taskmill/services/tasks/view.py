"""Tasks as people see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from taskmill.clock import Timestamp, rfc3339
from taskmill.services.tasks.waiting import WaitReason
from taskmill.states import Cause, State


class TaskSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A task in a list. `claim_no` grows with every attempt that starts; `attempt` counts against `max_attempts`."""

    id: UUID
    kind: str
    kind_version: int
    queue: str
    state: State
    priority: int
    tags: list[str]
    attempt: int
    max_attempts: int
    claim_no: int
    crash_count: int
    timeout_s: float
    run_at: Timestamp
    expires_at: Timestamp | None
    started_at: Timestamp | None
    deadline_at: Timestamp | None
    finished_at: Timestamp | None
    cancel_requested_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp
    worker_id: UUID | None
    schedule_id: UUID | None
    fire_at: Timestamp | None
    created_by: str | None
    error: Any


class TaskDetail(TaskSummary, frozen=True, kw_only=True):
    """A task with its args and meta; `error` is the last one, `{"type", "message"}` or null.

    `waiting` says why it does not run yet: empty once it runs, and while nothing holds it up.
    """

    args: Any
    meta: Any
    waiting: list[WaitReason]


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a final task left: the return value of a completed one, the error of another."""

    id: UUID
    state: State
    result: Any
    error: Any
    finished_at: Timestamp


class TaskAttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that did not complete; `message_zh` is `message` in Chinese where its author gave both, else null."""

    claim_no: int
    attempt: int
    cause: Cause
    error_type: str | None
    message: str | None
    message_zh: str | None
    traceback: str | None
    worker_id: UUID | None
    started_at: Timestamp | None
    finished_at: Timestamp


class TaskState(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a cancel or retry; `cancel_requested` says that a running task was asked to end."""

    id: UUID
    state: State
    cancel_requested: bool = False


_TIMES = (
    "run_at",
    "expires_at",
    "started_at",
    "deadline_at",
    "finished_at",
    "cancel_requested_at",
    "created_at",
    "updated_at",
    "fire_at",
)
_PLAIN = (
    "id",
    "kind",
    "kind_version",
    "queue",
    "priority",
    "attempt",
    "max_attempts",
    "claim_no",
    "crash_count",
    "worker_id",
    "schedule_id",
    "created_by",
)


def stamp(moment: datetime | None) -> Timestamp | None:
    """Return a time as text, None as None."""
    return None if moment is None else rfc3339(moment)


def json_of(value: Any) -> Any:
    """Return jsonb for the encoder: bytes of the hot pool pass through untouched, NULL becomes null."""
    return msgspec.Raw(value) if isinstance(value, bytes) else value


def _fields(row: Any) -> dict[str, Any]:
    fields = {name: row[name] for name in _PLAIN}
    fields.update((name, stamp(row[name])) for name in _TIMES)
    fields["state"] = State(row["state"])
    fields["tags"] = row["tags"] or []
    fields["timeout_s"] = row["timeout_ms"] / 1000
    fields["error"] = json_of(row["error"])
    return fields


def summary(row: Any) -> TaskSummary:
    """Build the list form from a mapping row."""
    return TaskSummary(**_fields(row))


def detail(row: Any, waiting: list[WaitReason]) -> TaskDetail:
    """Build the full form from a row of the hot pool."""
    return TaskDetail(**_fields(row), args=json_of(row["args"]), meta=json_of(row["meta"]), waiting=waiting)


def result(row: Any) -> TaskResult:
    """Build the result of a final task."""
    return TaskResult(
        id=row["id"],
        state=State(row["state"]),
        result=json_of(row["result"]),
        error=json_of(row["error"]),
        finished_at=rfc3339(row["finished_at"]),
    )


def attempt(row: Any) -> TaskAttemptView:
    """Build one attempt."""
    return TaskAttemptView(
        claim_no=row["claim_no"],
        attempt=row["attempt"],
        cause=Cause(row["cause"]),
        error_type=row["error_type"],
        message=row["message"],
        message_zh=row["message_zh"],
        traceback=row["traceback"],
        worker_id=row["worker_id"],
        started_at=stamp(row["started_at"]),
        finished_at=rfc3339(row["finished_at"]),
    )
