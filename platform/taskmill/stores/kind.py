"""Kinds in PostgreSQL: published by the roles that load plugins, read by whoever accepts tasks or shows the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.kind import Kind
from taskmill.stores.database import Queryable

PUBLISH = """
insert into taskmill.kinds as k (kind, version, plugin, plugin_version, summary, queue, priority, max_attempts, timeout_ms,
                                 executor, args_schema, result_schema, on_oom_queue, controls, seen_at)
select u.*, now()
from unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::int[], $9::int[],
            $10::text[], $11::jsonb[], $12::jsonb[], $13::text[], $14::jsonb[]) as u
on conflict (kind, version) do update
set plugin = excluded.plugin, plugin_version = excluded.plugin_version, summary = excluded.summary, queue = excluded.queue,
    priority = excluded.priority, max_attempts = excluded.max_attempts, timeout_ms = excluded.timeout_ms,
    executor = excluded.executor, args_schema = excluded.args_schema, result_schema = excluded.result_schema,
    on_oom_queue = excluded.on_oom_queue, controls = excluded.controls, seen_at = now()
"""
LOAD = """
select kind, version, queue, priority, max_attempts, timeout_ms, args_schema, controls from taskmill.kinds
"""


@dataclass(frozen=True, slots=True)
class KindRow:
    """One version of one kind; schemas are JSON bytes."""

    kind: str
    version: int
    plugin: str
    plugin_version: str
    summary: str
    queue: str
    priority: int
    max_attempts: int
    timeout_ms: int
    executor: str
    args_schema: bytes
    result_schema: bytes | None
    on_oom_queue: str | None = None
    controls: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class KindDefaults:
    """What a submit needs to know of a kind."""

    kind: str
    version: int
    queue: str
    priority: int
    max_attempts: int
    timeout_ms: int
    args_schema: bytes
    controls: bytes = b"{}"


async def publish(connection: Queryable, kinds: Sequence[KindRow]) -> None:
    """Insert or refresh `kinds`, sorted by key."""
    rows = sorted(kinds, key=lambda k: (k.kind, k.version))
    await connection.execute(
        PUBLISH,
        [k.kind for k in rows],
        [k.version for k in rows],
        [k.plugin for k in rows],
        [k.plugin_version for k in rows],
        [k.summary for k in rows],
        [k.queue for k in rows],
        [k.priority for k in rows],
        [k.max_attempts for k in rows],
        [k.timeout_ms for k in rows],
        [k.executor for k in rows],
        [k.args_schema for k in rows],
        [k.result_schema for k in rows],
        [k.on_oom_queue for k in rows],
        [k.controls for k in rows],
    )


async def load(connection: Queryable) -> list[KindDefaults]:
    """Return every known kind and version."""
    return [KindDefaults(*row) for row in await connection.fetch(LOAD)]


async def fetch_all(session: AsyncSession) -> Sequence[Kind]:
    """Return every version of every kind, by kind and version ascending."""
    return (await session.execute(select(Kind).order_by(Kind.kind, Kind.version))).scalars().all()


async def fetch_versions(session: AsyncSession, kind: str) -> Sequence[Kind]:
    """Return the versions of one kind, ascending."""
    return (await session.execute(select(Kind).where(Kind.kind == kind).order_by(Kind.version))).scalars().all()
