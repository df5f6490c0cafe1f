"""Tasks as people see them."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

import msgspec

from taskmill.clock import Timestamp
from taskmill.services.tasks.explain.reasons import WaitReason
from taskmill.services.view import view
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
    unique_key: str | None
    fairness_key: str | None
    sequence_key: str | None
    error: Any


S = TypeVar("S", bound=TaskSummary)


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
    """One attempt that did not complete; `message_zh` is `message` in Chinese where its author gave both, else null.

    `fingerprint` names the group of failures that it belongs to.
    """

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
    fingerprint: str | None


class TaskState(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a cancel or retry; `cancel_requested` says that a running task was asked to end."""

    id: UUID
    state: State
    cancel_requested: bool = False


def _task(form: type[S], row: Any, **given: Any) -> S:
    return view(form, row, state=State(row["state"]), tags=row["tags"] or [], timeout_s=row["timeout_ms"] / 1000, **given)


def summary(row: Any) -> TaskSummary:
    """Build the list form from a row whose `error` is decoded."""
    return _task(TaskSummary, row)


def detail(row: Any, waiting: list[WaitReason]) -> TaskDetail:
    """Build the full form from a row of the hot pool."""
    return _task(TaskDetail, row, waiting=waiting)


def result(row: Any) -> TaskResult:
    """Build the result of a final task."""
    return view(TaskResult, row, state=State(row["state"]))


def attempt(row: Any) -> TaskAttemptView:
    """Build one attempt."""
    return view(TaskAttemptView, row, cause=Cause(row["cause"]))
