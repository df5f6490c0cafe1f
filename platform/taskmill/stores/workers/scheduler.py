"""Rows of scheduler processes: who lives, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from taskmill.stores.database import Queryable

# 顺手删掉早就没了的：没有别的循环会去找它们
RENEW = """
with gone as (
  delete from taskmill.schedulers where lease_until < now() - $6 * interval '1 second' and id <> $1
)
insert into taskmill.schedulers as s (id, hostname, pid, version, lease_until)
values ($1, $2, $3, $4, now() + $5 * interval '1 second')
on conflict (id) do update set lease_until = excluded.lease_until
"""
LEAVE = "delete from taskmill.schedulers where id = $1"
# 有没有人会因为没有调度器而等：活着的任务、启用的计划、活着的工作进程
NEEDED = """
select exists (select from taskmill.tasks)
    or exists (select from taskmill.schedules where paused_at is null)
    or exists (select from taskmill.workers where dead_at is null and lease_until >= now())
"""
LIVING = "select count(*) from taskmill.schedulers where lease_until >= now()"


@dataclass(frozen=True, slots=True)
class SchedulerRow:
    """What a scheduler says of itself."""

    id: UUID
    hostname: str
    pid: int
    version: str


async def renew(connection: Queryable, row: SchedulerRow, *, lease_s: float, keep_s: float) -> None:
    """Say that this scheduler lives for `lease_s` more; rows that ran out `keep_s` ago are removed."""
    await connection.execute(RENEW, row.id, row.hostname, row.pid, row.version, lease_s, keep_s)


async def leave(connection: Queryable, scheduler_id: UUID) -> None:
    """Remove the row of a scheduler that ends."""
    await connection.execute(LEAVE, scheduler_id)


async def count_living(connection: Queryable) -> int:
    """Return how many schedulers live."""
    found: Any = await connection.fetchval(LIVING)
    return int(found)


async def is_needed(connection: Queryable) -> bool:
    """Return whether anything here would wait for a scheduler: a live task, an enabled schedule, a live worker."""
    found: Any = await connection.fetchval(NEEDED)
    return bool(found)
