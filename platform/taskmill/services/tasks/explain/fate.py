"""What became of a task that does not wait: it runs, or it has ended, and how."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from taskmill.clock import Timestamp, rfc3339
from taskmill.services.tasks.explain.reasons import WaitReason
from taskmill.states import WAITING, State
from taskmill.stores.database import Queryable
from taskmill.stores.tasks.explain import fate as store
from taskmill.words import Words

LOST: Final = "WorkerLost"  # 工作进程没了之后，错误的类型


class FateCode(StrEnum):
    """What a task does, or how it ended; the later ones are said beside these."""

    RUNNING = "RUNNING"
    WORKER_SILENT = "WORKER_SILENT"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    PARENT_FAILED = "PARENT_FAILED"
    DISCARDED = "DISCARDED"
    CRASHED = "CRASHED"
    EXPIRED = "EXPIRED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    STOPS_SEQUENCE = "STOPS_SEQUENCE"
    KEY_TAKEN = "KEY_TAKEN"


WORDS: Final[dict[FateCode, Words]] = {
    FateCode.RUNNING: Words(
        "工作进程 {host}（{worker}）从 {started_at} 起在执行它，第 {attempt} 次尝试，时限到 {deadline_at}",
        "the worker on {host} ({worker}) has run it since {started_at}, attempt {attempt}, until {deadline_at} at most",
    ),
    FateCode.WORKER_SILENT: Words(
        "执行它的工作进程 {host}（{worker}）不见了，救援者会把它收回；见过它到 {seen}",
        "the worker on {host} ({worker}) that ran it has gone, and the rescuer takes it back; it was seen until {seen}",
    ),
    FateCode.COMPLETED: Words(
        "已完成：{finished_at}，第 {attempt} 次尝试，用了 {run_s} 秒",
        "completed at {finished_at}, attempt {attempt}, in {run_s} s",
    ),
    FateCode.CANCELLED: Words("已取消：{finished_at}", "cancelled at {finished_at}"),
    FateCode.PARENT_FAILED: Words(
        "已取消：{finished_at}，它等的任务没有完成：{error}",
        "cancelled at {finished_at}, since a task that it waited for did not complete: {error}",
    ),
    FateCode.DISCARDED: Words(
        "已作废：{finished_at}，第 {attempt} 次尝试之后（上限 {max_attempts}）：{error}",
        "discarded at {finished_at} after attempt {attempt} of {max_attempts}: {error}",
    ),
    FateCode.CRASHED: Words(
        "已作废：{finished_at}，它执行时工作进程崩溃了 {crashes} 次：{error}",
        "discarded at {finished_at}: workers crashed {crashes} times while they ran it: {error}",
    ),
    FateCode.EXPIRED: Words("已作废：到 {expires_at} 还没有开始", "discarded: it had not begun by {expires_at}"),
    FateCode.CANCEL_REQUESTED: Words("{at} 有人请它停下", "somebody asked it to end at {at}"),
    FateCode.STOPS_SEQUENCE: Words(
        "序列 {key} 停在它上面：后面的都在等", "the sequence {key} is stopped by it: those behind it wait"
    ),
    FateCode.KEY_TAKEN: Words(
        "它的唯一键 {key} 如今由任务 {id} 占着：重试会被拒绝",
        "its unique key {key} is held by the task {id} now: a retry would be refused",
    ),
}
NEXT: Final[dict[FateCode, tuple[str, ...]]] = {
    FateCode.RUNNING: ("taskmill task watch {task}", "taskmill task cancel {task}"),
    FateCode.WORKER_SILENT: ("taskmill worker list",),
    FateCode.COMPLETED: ("taskmill task result {task}",),
    FateCode.CANCELLED: ("taskmill task retry {task}",),
    FateCode.PARENT_FAILED: ("taskmill task retry {task}",),
    FateCode.DISCARDED: ("taskmill task attempts {task}", "taskmill task retry {task}"),
    FateCode.CRASHED: ("taskmill task attempts {task}", "taskmill task retry {task}"),
    FateCode.EXPIRED: ("taskmill task retry {task}",),
    FateCode.STOPS_SEQUENCE: ("taskmill task retry {task}", "taskmill task skip {task}"),
    FateCode.KEY_TAKEN: ("taskmill task explain {id}",),
}


class TaskFate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a task: a stable code, words in both languages, the facts behind them, and the commands that are the next step."""

    code: FateCode
    message: Words
    facts: dict[str, Any] = {}
    next: list[str] = []


class TaskExplain(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task is not running, or what became of it.

    `waiting` says what holds up one that waits; empty, it is taken at once. `fate` says what a running one does and how a
    final one ended; it is empty while the task waits. `asked_at` is PostgreSQL's time.
    """

    id: UUID
    kind: str
    queue: str
    state: State
    asked_at: Timestamp
    waiting: list[WaitReason]
    fate: list[TaskFate]


async def fate(connection: Queryable, row: Any) -> list[TaskFate]:
    """Return what became of the task of this row; empty while it waits."""
    state = State(row["state"])
    if state in WAITING:
        return []
    return await _running(connection, row) if state is State.RUNNING else await _final(connection, row, state)


async def _running(connection: Queryable, row: Any) -> list[TaskFate]:
    found = await store.worker_of(connection, row["worker_id"])
    host, seen = (None, None) if found is None else (found.hostname, rfc3339(found.lease_until))
    given = {"worker": str(row["worker_id"]), "host": host, "started_at": rfc3339(row["started_at"])}
    if found is None or not found.lives:
        told = [_told(FateCode.WORKER_SILENT, row, given | {"seen": seen}, host=host or "?", seen=seen or "?")]
    else:
        deadline = None if row["deadline_at"] is None else rfc3339(row["deadline_at"])
        told = [_told(FateCode.RUNNING, row, given | {"attempt": row["attempt"], "deadline_at": deadline})]
    if row["cancel_requested_at"] is not None:
        told.append(_told(FateCode.CANCEL_REQUESTED, row, {"at": rfc3339(row["cancel_requested_at"])}))
    return told


async def _final(connection: Queryable, row: Any, state: State) -> list[TaskFate]:
    found = await store.ended(connection, row["id"], row["unique_key"], row["unique_while"])
    error = {} if row["error"] is None else msgspec.json.decode(row["error"])
    started, finished = row["started_at"], row["finished_at"]
    given = {
        "finished_at": rfc3339(finished),
        "attempt": row["attempt"],
        "max_attempts": row["max_attempts"],
        "crashes": row["crash_count"],
        "run_s": None if started is None else round((finished - started).total_seconds(), 3),
        "cause": found.cause,
        "error_type": error.get("type"),
        "expires_at": None if row["expires_at"] is None else rfc3339(row["expires_at"]),
    }
    told = [_told(_ending(state, error.get("type")), row, given, error=_error(error))]
    if found.stops is not None:
        told.append(_told(FateCode.STOPS_SEQUENCE, row, {"key": found.stops}))
    if found.holder is not None:
        told.append(_told(FateCode.KEY_TAKEN, row, {"key": row["unique_key"], "id": str(found.holder)}))
    return told


def _ending(state: State, error_type: str | None) -> FateCode:
    if state is State.CANCELLED:
        return FateCode.PARENT_FAILED if error_type == "ParentFailed" else FateCode.CANCELLED
    if state is State.COMPLETED:
        return FateCode.COMPLETED
    return {"Expired": FateCode.EXPIRED, LOST: FateCode.CRASHED}.get(error_type or "", FateCode.DISCARDED)


def _error(error: dict[str, Any]) -> Words:
    """一行之内：类型与文字，多的截去；全文在 attempts 里。"""
    kind, english = str(error.get("type") or "?"), " ".join(str(error.get("message") or "").split())
    chinese = " ".join(str(error.get("message_zh") or english).split())
    return Words(zh=_short(f"{kind}: {chinese}"), en=_short(f"{kind}: {english}"))


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _told(code: FateCode, row: Any, facts: dict[str, Any], **words: object) -> TaskFate:
    told = facts | {"task": row["id"]} | words
    return TaskFate(
        code=code, message=WORDS[code](**told), facts=facts, next=[step.format(**told) for step in NEXT.get(code, ())]
    )
