"""What follows the end of a task, in the same transaction: its children are let go or cancelled, its sequence goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from taskmill import reasons
from taskmill.states import State
from taskmill.stores import constants as c
from taskmill.stores.database import Connection, Record
from taskmill.stores.tasks.history import counted, counts, ended, into_history, state_in
from taskmill.stores.tasks.order import dependencies, sequences
from taskmill.stores.tasks.order.dependencies import Resolved
from taskmill.stores.tasks.order.release import LetGo, release

# 一个任务结束之后要看的；多数任务两样都没有
FACTS = "sequence_key, sequence_no, sequence_stop, followed"
_SET = {
    "state": "'cancelled'",
    "error": "u.error",
    "result": "null::jsonb",
    "cancel_requested_at": "coalesce(t.cancel_requested_at, clock_timestamp())",
}
# 转移 cancel：blocked → cancelled，因为它等的失败了；行已锁住
CANCEL = f"""
with d as (
  delete from taskmill.tasks t using unnest($1::uuid[], $2::jsonb[]) as u(id, error)
  where t.id = any (array[u.id]) and {state_in([State.BLOCKED])}
  returning {ended(_SET)}, t.followed
), h as (
  {into_history("d")}
), r as (
  {counted(counts("d", "state", "$3"))}
)
select id, {FACTS} from d
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that the transaction has ended, and what hangs on it. `blocked`: it was when it ended."""

    id: UUID
    state: str
    sequence_key: str | None
    sequence_no: int | None
    sequence_stop: bool | None
    followed: bool | None
    blocked: bool = False

    @property
    def stops(self) -> bool:
        """Say whether its sequence waits for somebody to look at it."""
        return self.state == State.DISCARDED and bool(self.sequence_stop)


def ended_of(row: Record, state: str, *, blocked: bool = False) -> Ended | None:
    """Return what follows from a row with FACTS, None if nothing does."""
    if row["sequence_key"] is None and not row["followed"] and not blocked:
        return None
    return Ended(row["id"], state, row["sequence_key"], row["sequence_no"], row["sequence_stop"], row["followed"], blocked)


async def follow(connection: Connection, tasks: Iterable[Ended | None], writer: UUID, *, wary: bool = True) -> LetGo:
    """Do what follows from the end of `tasks`; returns what was let go. `writer` counts those that are cancelled.

    `wary`: children that somebody has locked are left to the scheduler; else the transaction waits for them.
    """
    done = [task for task in tasks if task is not None]
    return await _follow(connection, done, set(), writer, wary=wary) if done else LetGo()


async def armed(connection: Connection, found: Resolved, writer: UUID) -> LetGo:
    """The same for children of parents that have ended before."""
    cancelled = await _cancel(connection, found, writer)
    return await _follow(connection, cancelled, found.children, writer, wary=True)


async def _follow(connection: Connection, done: Sequence[Ended], free: set[UUID], writer: UUID, *, wary: bool) -> LetGo:
    """一层一层：取消的任务也有等它的；太深的留给调度器。"""
    everybody, wave, free = list(done), list(done), set(free)
    for _ in range(c.CASCADE_MAX):
        parents = {task.id: task.state for task in wave if task.followed}
        if not parents:
            break
        found = await dependencies.resolve(connection, parents, wary=wary)
        wave = await _cancel(connection, found, writer)
        free |= found.children
        everybody += wave
    if deeper := {task.id: task.state for task in wave if task.followed}:
        await dependencies.put_off(connection, deeper)
    if blocked := [task.id for task in everybody if task.blocked]:
        await dependencies.forget(connection, blocked)
    return await release(connection, free | set(await _turns(connection, everybody)))


async def _turns(connection: Connection, done: Sequence[Ended]) -> list[UUID]:
    in_sequence = [task for task in done if task.sequence_key is not None]
    if not in_sequence:
        return []
    stops = [(task.id, task.sequence_key or "", task.sequence_no or 0) for task in in_sequence if task.stops]
    await sequences.stop(connection, stops)
    return await sequences.pass_on(
        connection, {task.sequence_key or "" for task in in_sequence}, [task.id for task in in_sequence]
    )


async def _cancel(connection: Connection, found: Resolved, writer: UUID) -> list[Ended]:
    if not found.failed:
        return []
    ids = sorted(found.failed)
    errors = [parent_failed(*found.failed[child]) for child in ids]
    rows = await connection.fetch(CANCEL, ids, errors, writer)
    return [task for row in rows if (task := ended_of(row, State.CANCELLED, blocked=True)) is not None]


def parent_failed(parent: UUID, state: str) -> bytes:
    """Return the error of a task that is cancelled because of this parent."""
    words = reasons.PARENT_FAILED(id=parent, state=state)
    return msgspec.json.encode({"type": "ParentFailed", "message": words.en, "message_zh": words.zh})
