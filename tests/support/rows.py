"""Rows put straight into the tables, for states that would take long to reach; and what the tables hold."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Pool, Record

from taskmill.ids import new_id

# 不变量 9 的两边：按队列与类型，终态 − 重开 − 清理 = 历史行数
BALANCE = """
select queue, kind, sum(n)::bigint as n from (
  select queue, kind, case when outcome in ('reopened', 'pruned', 'unretained') then -n else n end as n from taskmill.rollups
  union all
  select queue, kind, -count(*) from taskmill.task_history group by queue, kind
) u group by queue, kind having sum(n) <> 0
"""


async def _insert(pool: Pool, table: str, values: dict[str, Any]) -> None:
    names = ", ".join(values)
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    await pool.execute(f"insert into taskmill.{table} ({names}) values ({places})", *values.values())


async def now(pool: Pool) -> datetime:
    """Return the database's time."""
    return await pool.fetchval("select now()")


async def add_task(pool: Pool, *, state: str = "available", **columns: Any) -> UUID:
    """Insert a live task; its queue row too."""
    task_id = columns.pop("id", None) or new_id()
    values = {"id": task_id, "queue": "default", "kind": "demo.echo", "args": b"{}", "timeout_ms": 60_000, **columns}
    await pool.execute("insert into taskmill.queues (name) values ($1) on conflict do nothing", values["queue"])
    await _insert(pool, "tasks", {**values, "state": state})
    return task_id


async def add_running(pool: Pool, worker_id: UUID, **columns: Any) -> UUID:
    """Insert a task that `worker_id` runs, on its first attempt."""
    values = {"claim_no": 1, "attempt": 1, "started_at": await now(pool), "worker_id": worker_id, **columns}
    return await add_task(pool, state="running", **values)


async def add_final(pool: Pool, finished_at: datetime, *, state: str = "completed", **columns: Any) -> UUID:
    """Insert a final task with the rollup that its settle would have counted."""
    task_id = columns.pop("id", None) or new_id()
    values = {"queue": "default", "kind": "demo.echo", "args": b"{}", "timeout_ms": 60_000, **columns}
    await _insert(pool, "task_history", {"id": task_id, "state": state, "finished_at": finished_at, **values})
    rollup = {"minute": finished_at, "queue": values["queue"], "kind": values["kind"], "outcome": state, "writer": new_id()}
    await _insert(pool, "rollups", {**rollup, "n": 1})
    return task_id


async def add_attempt(pool: Pool, task_id: UUID, finished_at: datetime) -> None:
    """Insert a failed attempt."""
    await _insert(
        pool,
        "task_attempts",
        {"task_id": task_id, "claim_no": 1, "attempt": 1, "cause": "error", "finished_at": finished_at},
    )


async def add_worker(
    pool: Pool,
    *,
    lease_s: float = 20.0,
    death: str | None = None,
    dead_s: float = 0.0,
    pod_uid: str | None = None,
    cause: str | None = None,
) -> UUID:
    """Insert a worker whose lease ends in `lease_s` seconds (negative: it has ended); with `death`, a dead one.

    `cause`: why its pod ended, as the cluster told.
    """
    worker_id = new_id()
    await pool.execute(
        """insert into taskmill.workers
           (id, hostname, pid, version, queues, kinds, concurrency, lease_until, dead_at, death, pod_uid, death_cause)
           values ($1, 'host', 1, '0', '{default}', '{demo.echo:1}', 10, now() + $2 * interval '1 second',
                   case when $3::text is not null then now() - $4 * interval '1 second' end, $3,
                   $5, $6)""",
        worker_id,
        lease_s,
        death,
        dead_s,
        pod_uid,
        cause,
    )
    return worker_id


async def live(pool: Pool, task_id: UUID) -> Record:
    """Return a live task."""
    row = await pool.fetchrow("select * from taskmill.tasks where id = $1", task_id)
    assert row is not None, "not live"
    return row


async def final(pool: Pool, task_id: UUID) -> Record:
    """Return a final task."""
    row = await pool.fetchrow("select * from taskmill.task_history where id = $1", task_id)
    assert row is not None, "not final"
    return row


async def attempts(pool: Pool, task_id: UUID) -> list[tuple[int, str]]:
    """Return (claim_no, cause) of the recorded attempts."""
    rows = await pool.fetch("select claim_no, cause from taskmill.task_attempts where task_id = $1 order by 1", task_id)
    return [(row["claim_no"], row["cause"]) for row in rows]


async def imbalance(pool: Pool) -> list[Record]:
    """Return the queues and kinds whose rollups and history disagree; invariant 9 holds if there are none."""
    return await pool.fetch(BALANCE)
