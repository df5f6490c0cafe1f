"""Tasks in memory: the transitions that `stores.tasks` writes in SQL, for one process.

Every decision is the product's own (`states.TRANSITIONS`, what an outcome says, the key of a unique task); what is written
here is only how rows change. `tests/integration/testing` runs the same tasks here and in PostgreSQL and compares the ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from taskmill import reasons
from taskmill.clock import Clock
from taskmill.controls.unique_key import key_of
from taskmill.engine.attempts.outcomes import error_json
from taskmill.states import FINAL, LIVE, WAITING, By, Cause, State, TransitionError, allowed, sources
from taskmill.stores.tasks.control import KeyTakenError
from taskmill.stores.tasks.settle import Outcome, failure_of
from taskmill.stores.tasks.submit import Inserted, NewTask
from taskmill.testing.ordering import Book, Ordering, Row

Kept = tuple[dict[UUID, Row], dict[str, tuple[UUID, datetime]], Book]
# 只有真的领取、结算才会有的列
_NEW: Row = dict.fromkeys(
    ("worker_id", "deadline_at", "started_at", "finished_at", "cancel_requested_at", "ticket_at", "result", "error", "slot")
)
_NO_TIME = timedelta(0)


class Memory:
    """Rows by id, in the order of their submits, live and final ones; attempts that did not complete."""

    def __init__(self, clock: Clock) -> None:
        self.rows: dict[UUID, Row] = {}
        self.attempts: list[Row] = []
        self._clock = clock
        self._periods: dict[str, tuple[UUID, datetime]] = {}  # 键 → 谁占着、到何时；任务结束之后也算
        self._ordering = Ordering(self.rows, clock, self._move)

    def submit(self, tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
        """Insert the tasks in their order; a duplicate of a unique one is not stored. InputError PARENT_NOT_FOUND."""
        self._ordering.check(tasks)
        inserted = {task.id: self._insert(task) for task in tasks}
        self._ordering.look(tasks)
        return inserted

    def stage(self) -> list[Row]:
        """Discard what has expired, make available what is due; returns the expired rows."""
        now, expired = self._clock.now(), list[Row]()
        for row in list(self.live(WAITING)):
            if row["expires_at"] is not None and row["expires_at"] <= now:
                self._expire(row)
                expired.append(row)
            elif row["state"] in sources(By.STAGE) and row["run_at"] <= now:
                self._move(row, By.STAGE, State.AVAILABLE)
        self._ordering.follow()
        return expired

    def claim(self, row: Row, worker_id: UUID) -> Row:
        """Begin an attempt and return the row as a worker has it."""
        now = self._clock.now()
        timeout = timedelta(milliseconds=row["timeout_ms"])
        begun = {"worker_id": worker_id, "started_at": now, "deadline_at": now + timeout}
        self._move(row, By.CLAIM, State.RUNNING, claim_no=row["claim_no"] + 1, attempt=row["attempt"] + 1, **begun)
        return dict(row)

    def settle(self, outcome: Outcome) -> State:
        """Apply the end of an attempt; a task that was asked to cancel ends instead of waiting. Returns the state it got."""
        row = self.rows[outcome.id]
        state, cause, attempt = outcome.state, outcome.cause, row["attempt"] + outcome.attempt_delta
        if state in WAITING and row["cancel_requested_at"] is not None:
            state, cause = State.CANCELLED, cause or Cause.CANCEL
        if cause is not None:
            self._record(row, cause, outcome, attempt if state in FINAL else row["attempt"])
        changes = {
            "attempt": attempt,
            "crash_count": row["crash_count"] + outcome.crash_delta,
            "error": row["error"] if outcome.error is None else outcome.error,
        }
        if state in FINAL:
            self._move(row, outcome.by, state, result=outcome.result, **changes)
            self._ordering.follow()
        else:
            due = row["run_at"] if state is State.AVAILABLE else self._due(outcome.run_at, outcome.delay_s)
            changes |= {"worker_id": None, "deadline_at": None, "run_at": due, "queue": outcome.queue or row["queue"]}
            self._move(row, outcome.by, state, **changes)
        return state

    def cancel(self, row: Row) -> State:
        """End a waiting task, ask a running one to end; returns the state it has then."""
        row["cancel_requested_at"] = row["cancel_requested_at"] or self._clock.now()
        if row["state"] is not State.RUNNING:
            self._move(row, By.CANCEL, State.CANCELLED)
            self._ordering.follow()
        return row["state"]

    def reopen(self, row: Row) -> None:
        """Bring a final task back with fresh budgets; KeyTakenError if another live task has its key."""
        key = row["unique_key"] if row["unique_while"] == "live" else None
        if key is not None and (holder := self._live_holder(key)) is not None:
            raise KeyTakenError(key, holder["id"])
        now = self._clock.now()
        fresh = {**_NEW, "attempt": 0, "crash_count": 0, "run_at": now, "expires_at": None, "unique_key": key}
        if row["sequence_key"] is None:
            self._move(row, By.RETRY, State.AVAILABLE, **fresh)
        else:
            self._move(row, By.RETRY, State.BLOCKED, **fresh)
            self._ordering.reopened(row)

    def skip(self, row: Row) -> bool:
        """Let the sequence go on that this failed task stops; False if it stops none."""
        return self._ordering.skip(row)

    def live(self, states: frozenset[State] = LIVE) -> Iterator[Row]:
        """Return the rows in these states, in the order of their submits."""
        return (row for row in self.rows.values() if row["state"] in states)

    def snapshot(self) -> Kept:
        """Return a copy of all that a submit may change."""
        rows = {task_id: dict(row) for task_id, row in self.rows.items()}
        return rows, dict(self._periods), self._ordering.snapshot()

    def restore(self, kept: Kept) -> None:
        """Go back to what `snapshot` returned; rows stay the objects that they were."""
        rows, self._periods, self._ordering.book = kept
        for task_id in self.rows.keys() - rows.keys():
            del self.rows[task_id]
        for task_id, row in rows.items():
            self.rows[task_id].update(row)

    def _insert(self, task: NewTask) -> Inserted:
        unique = task.unique
        key = None if unique is None else unique.key or key_of(task.kind, unique.of or b"")
        if unique is not None and key is not None:
            if (holder := self._holder(key)) is not None:
                replaced = unique.on_duplicate == "replace" and self._replace(holder, task, key)
                return Inserted(holder["state"], holder["run_at"], None, holder["id"], replaced=replaced, unique_key=key)
            if unique.period_s:
                self._periods[key] = task.id, self._clock.now() + timedelta(seconds=unique.period_s)
        now, due = self._clock.now(), self._due(task.run_at, task.delay_s)
        row = self.rows[task.id] = {
            **{name: getattr(task, name) for name in _GIVEN},
            **_NEW,
            **self._ordering.columns(task),
            "tags": list(task.tags) or None,
            "state": None,
            "claim_no": 0,
            "attempt": 0,
            "crash_count": 0,
            "run_at": due,
            "unique_key": key,
            "unique_while": None if unique is None else unique.while_,
            "created_at": now,
        }
        first = State.AVAILABLE if due <= now else State.SCHEDULED
        self._move(row, By.SUBMIT, first if task.order is None else State.BLOCKED)
        return Inserted(row["state"], due, None, unique_key=key)

    def _holder(self, key: str) -> Row | None:
        """活着的，其次是占到结束之后的。"""
        if (row := self._live_holder(key)) is not None:
            return row
        task_id, until = self._periods.get(key, (None, None))
        return self.rows[task_id] if task_id is not None and until is not None and until > self._clock.now() else None

    def _live_holder(self, key: str) -> Row | None:
        held = (row for row in self.live() if row["unique_key"] == key)
        return next((row for row in held if row["unique_while"] == "live" or row["claim_no"] == 0), None)

    def _replace(self, row: Row, task: NewTask, key: str) -> bool:
        if row["unique_key"] != key or row["kind"] != task.kind or row["state"] not in sources(By.REPLACE):
            return False
        due = self._due(task.run_at, task.delay_s)
        later = row["state"] is State.AVAILABLE and due > self._clock.now()
        state = State.SCHEDULED if later else row["state"]
        self._move(row, By.REPLACE, state, args=task.args, kind_version=task.kind_version, run_at=due)
        return True

    def _expire(self, row: Row) -> None:
        said = reasons.EXPIRED
        row["claim_no"] += 1
        told = {"message": said.en, "message_zh": said.zh}
        absent = dict.fromkeys(("error_type", "traceback", "worker_id", "started_at", "fingerprint"))
        self.attempts.append({**self._ending(row, Cause.EXPIRED, row["attempt"]), **absent, **told})
        self._move(row, By.EXPIRE, State.DISCARDED, error=error_json("Expired", said.en, said.zh))

    def _record(self, row: Row, cause: Cause, outcome: Outcome, attempt: int) -> None:
        told = {name: getattr(outcome, name) for name in ("error_type", "message", "message_zh", "traceback")}
        begun = {name: row[name] for name in ("worker_id", "started_at")}
        failure = failure_of(outcome)
        group = {"fingerprint": None if failure is None else failure.fingerprint}
        self.attempts.append({**self._ending(row, cause, attempt), **begun, **told, **group})

    def _ending(self, row: Row, cause: Cause, attempt: int) -> Row:
        place = {"task_id": row["id"], "claim_no": row["claim_no"], "attempt": attempt}
        return {**place, "cause": cause, "finished_at": self._clock.now()}

    def _due(self, run_at: datetime | None, delay_s: float) -> datetime:
        return run_at or self._clock.now() + (timedelta(seconds=delay_s) if delay_s else _NO_TIME)

    def _move(self, row: Row, by: By, state: State, **changes: Any) -> None:
        """唯一改状态的地方。"""
        if not allowed(by, row["state"], state):
            raise TransitionError(by, row["state"], state)
        now = self._clock.now()
        row.update(changes, state=state, updated_at=now)
        if state in FINAL:
            row["finished_at"] = now
            self._ordering.ended(row)


_GIVEN = (
    "id", "queue", "kind", "kind_version", "priority", "args", "meta", "max_attempts", "timeout_ms", "expires_at",
    "schedule_id", "fire_at", "created_by", "concurrency_key", "fairness_key",
)  # fmt: skip


def decoded(raw: bytes | None) -> Any:
    """Return what stands in a column of JSON."""
    return None if raw is None else msgspec.json.decode(raw)
