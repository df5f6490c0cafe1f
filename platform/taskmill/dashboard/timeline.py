"""The life of a task in steps, drawn from what is stored: made, due, each attempt with its waits, the end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from taskmill.services.tasks.view import TaskAttemptView, TaskDetail
from taskmill.states import FINAL, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: a phrase, when, how long it took (`lasted`) and how long it was waited for before (`waited`), in seconds."""

    phrase: str
    at: str | None
    tone: str = "quiet"
    waited: float | None = None
    lasted: float | None = None
    attempt: TaskAttemptView | None = None


def steps(task: TaskDetail, attempts: list[TaskAttemptView]) -> list[Step]:
    """Return the steps, the oldest first."""
    found = [Step(phrase="step_created", at=task.created_at)]
    last = task.created_at
    for attempt in attempts:
        found.append(
            Step(
                phrase="step_attempt",
                at=attempt.started_at or attempt.finished_at,
                tone="bad",
                waited=_between(last, attempt.started_at),
                lasted=_between(attempt.started_at, attempt.finished_at),
                attempt=attempt,
            )
        )
        last = attempt.finished_at
    found += _now(task, last, told={attempt.claim_no for attempt in attempts})
    return found


def _now(task: TaskDetail, last: str, told: set[int]) -> list[Step]:
    """失败的尝试各有记录；正在跑的、跑成了的没有，从任务自己看。"""
    untold = task.started_at is not None and task.claim_no not in told
    if task.state is State.RUNNING:
        return [Step(phrase="step_running", at=task.started_at, tone="busy", waited=_between(last, task.started_at))]
    if task.state in FINAL:
        run = [Step(phrase="step_ran", at=task.started_at, tone="good", waited=_between(last, task.started_at), lasted=_between(task.started_at, task.finished_at))] if untold and task.state is State.COMPLETED else []  # fmt: skip
        tone = {State.COMPLETED: "good", State.DISCARDED: "bad"}.get(task.state, "quiet")
        return [*run, Step(phrase=f"step_{task.state.value}", at=task.finished_at, tone=tone)]
    return [Step(phrase="step_due", at=task.run_at, tone="busy")]


def _between(start: str | None, end: str | None) -> float | None:
    if start is None or end is None:
        return None
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
