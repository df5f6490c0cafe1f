"""Schedules: rows by id or name for people, due rows for the cron loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.schedule import Schedule
from taskmill.stores.database import Connection, Queryable

Session = AsyncSession  # 服务层以此名注解，不直接碰 SQLAlchemy


class NameTakenError(Exception):
    """Another schedule has the name."""


async def now(session: AsyncSession) -> datetime:
    """Return the database's time."""
    return (await session.execute(select(func.clock_timestamp()))).scalar_one()


async def fetch_page(session: AsyncSession, *, limit: int, offset: int) -> tuple[Sequence[Schedule], int]:
    """Return schedules by name, and how many there are in all."""
    rows = (await session.execute(select(Schedule).order_by(Schedule.name).limit(limit).offset(offset))).scalars().all()
    return rows, (await session.execute(select(func.count()).select_from(Schedule))).scalar_one()


async def fetch(session: AsyncSession, key: UUID | str, *, lock: bool = False) -> Schedule | None:
    """Return one schedule by id or by name, None if it is unknown; `lock` keeps the cron loop away until the commit."""
    statement = select(Schedule).where(Schedule.id == key if isinstance(key, UUID) else Schedule.name == key)
    return (await session.execute(statement.with_for_update() if lock else statement)).scalar_one_or_none()


async def fetch_by_source(session: AsyncSession, source: str) -> Sequence[Schedule]:
    """Return the schedules of one source, locked, by name."""
    statement = select(Schedule).where(Schedule.source == source).order_by(Schedule.name).with_for_update()
    return (await session.execute(statement)).scalars().all()


async def add(session: AsyncSession, values: Mapping[str, Any]) -> Schedule | None:
    """Insert a schedule; None if the name is taken."""
    statement = insert(Schedule).values(**values).on_conflict_do_nothing(index_elements=["name"]).returning(Schedule)
    return (await session.execute(statement)).scalar_one_or_none()


async def change(session: AsyncSession, schedule_id: UUID, values: Mapping[str, Any]) -> Schedule | None:
    """Set columns of a schedule and return it as it is now; None if it is gone. NameTakenError."""
    statement = (
        update(Schedule)
        .where(Schedule.id == schedule_id)
        .values(**values, updated_at=func.now())
        .returning(Schedule)
        .execution_options(populate_existing=True)
    )
    try:
        async with session.begin_nested():
            return (await session.execute(statement)).scalar_one_or_none()
    except IntegrityError as error:
        raise NameTakenError from error


async def remove(session: AsyncSession, schedule_id: UUID) -> bool:
    """Delete a schedule; its tasks and fires stay. False if it is gone."""
    statement = delete(Schedule).where(Schedule.id == schedule_id).returning(Schedule.id)
    return (await session.execute(statement)).first() is not None


# 每个副本都在跑：谁锁住谁触发，别人跳过
DUE = """
select id, name, kind, args, queue, priority, cron, interval_s, timezone, catch_up_s, next_fire_at, created_by, now() as now
from taskmill.schedules
where paused_at is null and next_fire_at <= now()
order by next_fire_at limit $1 for update skip locked
"""
# 闲的时候一轮只问这一句，不必为此开一个事务
SOME_DUE = """
select exists (select from taskmill.schedules where paused_at is null and next_fire_at <= now() order by next_fire_at limit 1)
"""
# 主键保证同一时刻只触发一次，即使计划被改回过去
FIRE = """
insert into taskmill.schedule_fires (schedule_id, fire_at, task_id)
select * from unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) order by 1, 2
on conflict do nothing returning task_id
"""
RENAME = """
update taskmill.schedule_fires f set task_id = u.holder
from unnest($1::uuid[], $2::uuid[]) as u(task_id, holder) where f.task_id = u.task_id and f.created_at = now()
"""
ADVANCE = """
update taskmill.schedules s
set next_fire_at = u.next_fire_at, last_fire_at = coalesce(u.last_fire_at, s.last_fire_at),
    last_task_id = coalesce(u.last_task_id, s.last_task_id), missed_count = s.missed_count + u.missed,
    last_error = u.last_error, updated_at = now()
from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::int[], $6::text[])
  as u(id, next_fire_at, last_fire_at, last_task_id, missed, last_error)
where s.id = u.id
"""


@dataclass(frozen=True, slots=True)
class DueRow:
    """A schedule whose time has come; `args` is JSON bytes, `now` the database's time."""

    id: UUID
    name: str
    kind: str
    args: bytes
    queue: str | None
    priority: int | None
    cron: str | None
    interval_s: float | None
    timezone: str
    catch_up_s: float
    next_fire_at: datetime
    created_by: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Advance:
    """Where a schedule stands after its fires; None keeps the last fire and task, but clears the error."""

    id: UUID
    next_fire_at: datetime | None
    last_fire_at: datetime | None
    last_task_id: UUID | None
    missed: int
    last_error: str | None


async def fetch_due(connection: Connection, limit: int) -> list[DueRow]:
    """Lock and return schedules that are due, the longest overdue first."""
    return [DueRow(*row) for row in await connection.fetch(DUE, limit)]


async def record_fires(connection: Connection, fires: Sequence[tuple[UUID, datetime, UUID]]) -> set[UUID]:
    """Record (schedule_id, fire_at, task_id); returns the task ids of fires that had not been recorded before."""
    rows = await connection.fetch(FIRE, [f[0] for f in fires], [f[1] for f in fires], [f[2] for f in fires])
    return {row["task_id"] for row in rows}


async def rename_fires(connection: Connection, holders: Mapping[UUID, UUID]) -> None:
    """Let fires that this transaction recorded name the tasks that stand for theirs."""
    await connection.execute(RENAME, list(holders), list(holders.values()))


async def advance(connection: Queryable, changes: Sequence[Advance]) -> None:
    """Write where schedules stand, sorted by id."""
    rows = sorted(changes, key=lambda row: row.id)
    await connection.execute(
        ADVANCE,
        [r.id for r in rows],
        [r.next_fire_at for r in rows],
        [r.last_fire_at for r in rows],
        [r.last_task_id for r in rows],
        [r.missed for r in rows],
        [r.last_error for r in rows],
    )
