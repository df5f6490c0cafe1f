"""INSERT of new tasks by arrays; the only statement that makes a task row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from taskmill import constants as c
from taskmill.stores.arrays import sparse
from taskmill.stores.database import Connection, Queryable

TAG_SEPARATOR = "\x1f"


@dataclass(slots=True)
class NewTask:
    """One task to insert; `args` and `meta` are JSON bytes, `delay_s` counts from the database's now().

    `run_at` None and `delay_s` 0 make it available at once. `ticketed` says that the submitter will ticket it.
    """

    id: UUID
    queue: str
    kind: str
    kind_version: int
    priority: int
    args: bytes
    max_attempts: int
    timeout_ms: int
    meta: bytes | None = None
    tags: Sequence[str] = ()
    run_at: datetime | None = None
    delay_s: float = 0.0
    expires_at: datetime | None = None
    schedule_id: UUID | None = None
    fire_at: datetime | None = None
    created_by: str | None = None
    ticketed: bool = True


@dataclass(frozen=True, slots=True)
class Inserted:
    """What the database decided: `available` and `ticket_ms` (None: no ticket wanted, the stager will)."""

    state: str
    run_at: datetime
    ticket_ms: int | None


# 转移 submit：None → available / scheduled。run_at 不晚于现在即可运行
INSERT = """
insert into taskmill.tasks (
    id, queue, kind, kind_version, state, priority, args, meta, tags, max_attempts, timeout_ms,
    run_at, expires_at, schedule_id, fire_at, created_by, ticket_at)
select u.id, u.queue, u.kind, u.kind_version,
       case when coalesce(u.run_at, now() + coalesce(u.delay, interval '0')) <= now() then 'available' else 'scheduled' end,
       u.priority, u.args, u.meta, string_to_array(u.tags, E'\\x1f'), u.max_attempts, u.timeout_ms,
       coalesce(u.run_at, now() + coalesce(u.delay, interval '0')), u.expires_at, u.schedule_id, u.fire_at, u.created_by,
       case when coalesce(u.ticketed, true) and coalesce(u.run_at, now() + coalesce(u.delay, interval '0')) <= now()
            then to_timestamp(floor(extract(epoch from now()) * 1000) / 1000.0) end
from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::smallint[], $6::jsonb[], $7::jsonb[], $8::text[],
            $9::int[], $10::int[], $11::timestamptz[], $12::interval[], $13::timestamptz[], $14::uuid[],
            $15::timestamptz[], $16::text[], $17::bool[])
  as u(id, queue, kind, kind_version, priority, args, meta, tags, max_attempts, timeout_ms, run_at, delay,
       expires_at, schedule_id, fire_at, created_by, ticketed)
returning id, state, run_at, (extract(epoch from ticket_at) * 1000)::bigint as ticket_ms
"""
QUEUES = "insert into taskmill.queues (name) select unnest($1::text[]) on conflict do nothing returning name"


def _columns(tasks: Sequence[NewTask]) -> list[list[Any]]:
    return [
        [t.id for t in tasks],
        [t.queue for t in tasks],
        [t.kind for t in tasks],
        [t.kind_version for t in tasks],
        [t.priority for t in tasks],
        [t.args for t in tasks],
        sparse([t.meta for t in tasks], None),
        sparse([TAG_SEPARATOR.join(t.tags) if t.tags else None for t in tasks], None),
        [t.max_attempts for t in tasks],
        [t.timeout_ms for t in tasks],
        sparse([t.run_at for t in tasks], None),
        sparse([timedelta(seconds=t.delay_s) if t.delay_s else None for t in tasks], None),
        sparse([t.expires_at for t in tasks], None),
        sparse([t.schedule_id for t in tasks], None),
        sparse([t.fire_at for t in tasks], None),
        sparse([t.created_by for t in tasks], None),
        sparse([t.ticketed for t in tasks], default=True),
    ]


async def insert(connection: Connection, tasks: Sequence[NewTask]) -> dict[UUID, Inserted]:
    """Insert all `tasks` in one statement, sorted by id; returns one Inserted per id. Errors: asyncpg's."""
    ordered = sorted(tasks, key=lambda t: t.id)
    rows = await connection.fetch(INSERT, *_columns(ordered))
    return {row["id"]: Inserted(row["state"], row["run_at"], row["ticket_ms"]) for row in rows}


async def ensure_queues(connection: Queryable, names: Sequence[str]) -> list[str]:
    """Make the rows of queues that have none yet; returns their names."""
    return [row["name"] for row in await connection.fetch(QUEUES, sorted(names))]


async def count_queues(connection: Connection) -> int:
    """Return how many queues there are, after those that other transactions are making; who asks holds them up until it ends."""
    await connection.execute("select pg_advisory_xact_lock($1)", c.QUEUES_LOCK_KEY)
    rows = await connection.fetch("select count(*) as n from taskmill.queues")
    return int(rows[0]["n"])
