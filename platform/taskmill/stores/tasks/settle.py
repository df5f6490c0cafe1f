"""Settle: the end of attempts. Everything derived (history, attempts, rollups) comes from the same statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from taskmill.states import FAILURES, FINAL, By, Cause, State, TransitionError, allowed, sources
from taskmill.stores import constants as c
from taskmill.stores.arrays import sparse, uniform
from taskmill.stores.database import Connection, Record
from taskmill.stores.queues import histogram
from taskmill.stores.tasks.failures import Failed
from taskmill.stores.tasks.history import counted, counts, ended, into_history, state_in
from taskmill.stores.tasks.limits import Place
from taskmill.stores.tasks.order.follow import FACTS, ended_of, follow
from taskmill.stores.tasks.order.release import LetGo
from taskmill.text.fingerprint import fingerprint, normalised


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one running row. The fence is (id, claim_no, worker_id).

    `result` and `error` are JSON bytes; `run_at` or `delay_s` (from the database's now) say when a waiting target may
    run; `attempt_delta` −1 refunds the attempt; `crash_delta` 1 counts a crash; a `cause` leaves a row in
    task_attempts; `queue` moves a waiting target there. `kind`, `home` (the queue it ran in) and `attempt` are for people. `place`: whose slot it had.
    `frame`: where the author's code stood when it failed, as `text.fingerprint.place` names it.
    """

    id: UUID
    claim_no: int
    worker_id: UUID
    state: State
    by: By = By.SETTLE
    result: bytes | None = None
    error: bytes | None = None
    cause: Cause | None = None
    error_type: str | None = None
    message: str | None = None
    message_zh: str | None = None
    traceback: str | None = None
    frame: str = ""
    run_at: datetime | None = None
    delay_s: float = 0.0
    attempt_delta: int = 0
    crash_delta: int = 0
    queue: str | None = None
    kind: str = ""
    home: str = ""
    attempt: int = 0
    place: Place | None = None


_SET = {
    "state": "u.state",
    "result": "u.result",
    "error": "coalesce(u.error, t.error)",
    "attempt": "t.attempt + coalesce(u.attempt_delta, 0)",
    "crash_count": "t.crash_count + coalesce(u.crash_delta, 0)",
}
_FENCE = (
    f"t.id = any (array[u.id]) and t.claim_no = u.claim_no and t.worker_id = u.worker_id and {state_in(sources(By.SETTLE))}"
)
_KEPT, _UNKEPT = (f"queue {how} ((select names from unretained)::text[])" for how in ("<> all", "= any"))
_WAIT_MS, _RUN_MS = (
    f"(extract(epoch from {span}) * 1000)::float8" for span in ("started_at - run_at", "finished_at - started_at")
)
_SUMS = f"""coalesce(sum({_WAIT_MS}), 0)::bigint, coalesce(sum({_RUN_MS}), 0)::bigint,
         {histogram.sum_of(_WAIT_MS)}, {histogram.sum_of(_RUN_MS)}"""
# 失败的尝试另记一行；成功的不记
_ATTEMPT_COLUMNS = "task_id, claim_no, attempt, cause, error_type, message, message_zh, traceback, worker_id, started_at, fingerprint, finished_at"


def _finishing(fence: str, returned: str, first: str = "") -> str:
    """移入历史并计数，都在一条语句里；`first` 先做。不留历史的队列每条语句只查一次，多半一个也没有。"""
    return f"""
with unretained as materialized (
  select array(select q.name from taskmill.queues q where q.retention_s = 0) as names{first}
), u as materialized (
  select u.id, coalesce(u.claim_no, ($2::int[])[1]) as claim_no, coalesce(u.worker_id, ($3::uuid[])[1]) as worker_id,
         coalesce(u.state, ($4::text[])[1]) as state, u.result, u.error, u.attempt_delta, u.crash_delta
  from unretained, unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::jsonb[], $6::jsonb[], $7::int[], $8::int[])
    as u(id, claim_no, worker_id, state, result, error, attempt_delta, crash_delta)
), d as (
  delete from taskmill.tasks t using u where {fence}
  returning {ended(_SET)}, t.followed
), h as (
  {into_history("d", _KEPT)}
), r as (
  {counted(counts("d", "state", "$9", sums=_SUMS) + " union all" + counts("d", "'unretained'", "$9", where=_UNKEPT))}
)
select {returned} from d
"""


# 转移 settle / rescue：running → 终态
FINISH = _finishing(_FENCE, f"id, attempt, worker_id, started_at, state, {FACTS}")
# 只结束没有别的事随之而来的：后面没有语句，自己就是一个事务，一趟代替四趟；等锁的时限也由它自己先定好
FINISH_ALONE = _finishing(
    f"{_FENCE} and t.sequence_key is null and t.followed is not true",
    "id",
    f", set_config('lock_timeout', '{c.SETTLE_LOCK_MS}', true)",
)
# 转移 settle / hand_back / rescue：running → 等待态；被要求取消的不在此列。有公平键的交还之后重新等轮到
WAIT = f"""
update taskmill.tasks t
set state = u.state, queue = coalesce(u.queue, t.queue), attempt = t.attempt + u.attempt_delta, crash_count = t.crash_count + u.crash_delta,
    error = coalesce(u.error, t.error), worker_id = null, deadline_at = null, ticket_at = null,
    slot = case when u.state = 'available' and u.queue is null
           then case when t.fairness_key is not null and t.slot = 2 then 3 else t.slot end end,
    run_at = case when u.state = 'available' then t.run_at
                  else coalesce(u.run_at, now() + u.delay_s * interval '1 second') end,
    updated_at = clock_timestamp()
from unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::jsonb[], $6::int[], $7::int[], $8::timestamptz[],
            $9::float8[], $10::text[])
  as u(id, claim_no, worker_id, state, error, attempt_delta, crash_delta, run_at, delay_s, queue)
where {_FENCE} and t.cancel_requested_at is null
returning t.id, t.attempt - u.attempt_delta as attempt, u.worker_id, t.started_at
"""
ATTEMPTS = f"""
insert into taskmill.task_attempts ({_ATTEMPT_COLUMNS})
select u.*, clock_timestamp()
from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::uuid[], $10::timestamptz[], $11::text[]) as u
on conflict do nothing
"""

# 被别人锁着的行：锁得住的就此锁住，剩下还在的就是
LOCKED = """
with free as materialized (
  select t.id from taskmill.tasks t where t.id = any ($1::uuid[]) order by t.id for update skip locked
)
select t.id from taskmill.tasks t where t.id = any ($1::uuid[]) and not exists (select from free f where f.id = t.id)
"""


async def hurry(connection: Connection) -> None:
    """Let the transaction wait SETTLE_LOCK_MS at most for a stranger's lock: then LOCKED_OUT, and nothing was done."""
    await connection.execute(f"set local lock_timeout = {c.SETTLE_LOCK_MS}")


async def locked(connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Lock the rows that are free, in the caller's transaction; returns those that somebody else holds."""
    return {row["id"] for row in await connection.fetch(LOCKED, sorted(ids))}


async def settle(
    connection: Connection,
    outcomes: Sequence[Outcome],
    writer: UUID,
    let_go: LetGo | None = None,
    failed: list[Failed] | None = None,
    *,
    wary: bool = True,
) -> dict[UUID, State]:
    """Apply all outcomes in the caller's transaction; returns the state that each task got whose fence matched.

    What waited for those that ended is let go; `let_go` takes the tickets, to be sent after the commit, `failed` the
    failures, to be counted after it. With `wary`, what somebody else has locked of it is left to the scheduler.

    A waiting target whose task was asked to cancel goes to cancelled instead. Repeating the call after an unknown
    COMMIT is harmless: the fence matches each attempt once. TransitionError if the table of transitions lacks one.
    """
    for by, target in {(o.by, o.state) for o in outcomes}:
        if not allowed(by, State.RUNNING, target):
            raise TransitionError(by, State.RUNNING, target)
    ordered = sorted(outcomes, key=lambda o: o.id)
    waiting = [o for o in ordered if o.state not in FINAL]
    finals = [o for o in ordered if o.state in FINAL]
    facts: dict[UUID, tuple[int, datetime | None]] = {}
    if waiting:
        for row in await _wait(connection, waiting):
            facts[row["id"]] = (row["attempt"], row["started_at"])
        finals += [_cancelled(o) for o in waiting if o.id not in facts]
    landed = [o for o in waiting if o.id in facts]
    states = {o.id: o.state for o in landed}
    if finals:
        rows = await _finish(connection, sorted(finals, key=lambda o: o.id), writer)
        for row in rows:
            facts[row["id"]] = (row["attempt"], row["started_at"])
        made = await follow(connection, (ended_of(row, row["state"]) for row in rows), writer, wary=wary)
        if let_go is not None:
            let_go.add(made)
        states |= {o.id: o.state for o in finals if o.id in facts}
    # 要等却被取消了的，以取消之后的为准：没有死因的也记下「取消」
    if ended := sorted((o for o in (*landed, *finals) if o.cause is not None and o.id in facts), key=lambda o: o.id):
        grouped = {o.id: found for o in ended if (found := failure_of(o)) is not None}
        await _record_attempts(connection, ended, facts, grouped)
        if failed is not None:
            failed += grouped.values()
    return states


def alone(outcomes: Sequence[Outcome]) -> bool:
    """Say whether `finish_alone` may have them: they ended, and leave no attempt behind."""
    return all(o.cause is None and o.state in FINAL and allowed(o.by, State.RUNNING, o.state) for o in outcomes)


async def finish_alone(connection: Connection, outcomes: Sequence[Outcome], writer: UUID) -> set[UUID]:
    """End those of the outcomes whose fence matches and on whose end nothing hangs, in one statement; returns their ids.

    It is a transaction by itself. The others, and those that a stranger has locked (LOCKED_OUT), are for `settle`.
    """
    return {row["id"] for row in await _finish(connection, sorted(outcomes, key=lambda o: o.id), writer, FINISH_ALONE)}


def _cancelled(outcome: Outcome) -> Outcome:
    return replace(outcome, state=State.CANCELLED, cause=outcome.cause or Cause.CANCEL)


async def _wait(connection: Connection, outcomes: Sequence[Outcome]) -> list[Record]:
    return await connection.fetch(
        WAIT,
        [o.id for o in outcomes],
        [o.claim_no for o in outcomes],
        [o.worker_id for o in outcomes],
        [o.state.value for o in outcomes],
        [o.error for o in outcomes],
        [o.attempt_delta for o in outcomes],
        [o.crash_delta for o in outcomes],
        [o.run_at for o in outcomes],
        [o.delay_s for o in outcomes],
        sparse([o.queue for o in outcomes], None),
    )


async def _finish(
    connection: Connection, outcomes: Sequence[Outcome], writer: UUID, statement: str = FINISH
) -> list[Record]:
    return await connection.fetch(
        statement,
        [o.id for o in outcomes],
        uniform([o.claim_no for o in outcomes]),
        uniform([o.worker_id for o in outcomes]),
        uniform([o.state.value for o in outcomes]),
        sparse([o.result for o in outcomes], None),
        sparse([o.error for o in outcomes], None),
        sparse([o.attempt_delta for o in outcomes], 0),
        sparse([o.crash_delta for o in outcomes], 0),
        writer,
    )


def failure_of(outcome: Outcome) -> Failed | None:
    """Return the failure that an outcome is, None if it is nobody's."""
    if outcome.cause not in FAILURES:
        return None
    kind, error_type, frame = outcome.kind, outcome.error_type or "", outcome.frame
    message = normalised(outcome.message or "")
    return Failed(
        fingerprint(kind, error_type, message, frame),
        fingerprint(kind, "", "", ""),
        kind,
        error_type,
        message,
        frame,
        outcome.home,
        outcome.id,
    )


async def _record_attempts(
    connection: Connection,
    failed: Sequence[Outcome],
    facts: dict[UUID, tuple[int, datetime | None]],
    grouped: Mapping[UUID, Failed],
) -> None:
    await connection.execute(
        ATTEMPTS,
        [o.id for o in failed],
        [o.claim_no for o in failed],
        [facts[o.id][0] for o in failed],
        [o.cause.value if o.cause else None for o in failed],
        [o.error_type for o in failed],
        [o.message for o in failed],
        [o.message_zh for o in failed],
        [o.traceback for o in failed],
        [o.worker_id for o in failed],
        [facts[o.id][1] for o in failed],
        [grouped[o.id].fingerprint if o.id in grouped else None for o in failed],
    )
