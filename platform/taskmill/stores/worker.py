"""Rows of worker processes: registration, lease, end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from taskmill import constants as c
from taskmill.stores.database import Queryable
from taskmill.stores.urls import asyncpg_url

REGISTER = """
insert into taskmill.workers (id, hostname, pid, version, queues, kinds, concurrency, lease_until)
values ($1, $2, $3, $4, $5, $6, $7, now() + $8 * interval '1 second')
"""
# 一次往返：续租，并带回取消请求与暂停的队列。死掉的编号永远续不上
RENEW = """
with renewed as (
  update taskmill.workers set lease_until = now() + $2 * interval '1 second', running = $3, draining = $4
  where id = $1 and dead_at is null returning id
)
select exists (select from renewed) as alive,
       array(select t.id from taskmill.tasks t
             where t.worker_id = $1 and t.state = 'running' and t.cancel_requested_at is not null) as cancels,
       array(select q.name from taskmill.queues q where q.paused_at is not null) as paused
"""
LEAVE = "update taskmill.workers set dead_at = now(), running = 0, death = $2 where id = $1 and dead_at is null"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a worker says of itself once."""

    id: UUID
    hostname: str
    pid: int
    version: str
    queues: Sequence[str]
    kinds: Sequence[str]
    concurrency: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """The reply to a heartbeat: is the lease alive, which tasks shall be cancelled, which queues are paused."""

    alive: bool
    cancels: frozenset[UUID]
    paused: frozenset[str]


async def register(connection: Queryable, worker: Registration, lease_s: float) -> None:
    """Insert the row of a new incarnation."""
    await connection.execute(
        REGISTER, worker.id, worker.hostname, worker.pid, worker.version, worker.queues, worker.kinds,
        worker.concurrency, lease_s,
    )


async def renew(connection: Queryable, worker_id: UUID, lease_s: float, running: int, *, draining: bool) -> Renewal:
    """Renew the lease by the database's clock."""
    row = await connection.fetchrow(RENEW, worker_id, lease_s, running, draining)
    if row is None:
        return Renewal(alive=False, cancels=frozenset(), paused=frozenset())
    return Renewal(row["alive"], frozenset(row["cancels"]), frozenset(row["paused"]))


class LeaseConnection:
    """A connection of its own for one heartbeat; opens itself again after a failure."""

    def __init__(self, database_url: str, worker_id: UUID, lease_s: float) -> None:
        self._url = asyncpg_url(database_url)
        self._worker_id = worker_id
        self._lease_s = lease_s
        self._connection: asyncpg.Connection | None = None

    async def renew(self, running: int, *, draining: bool) -> Renewal:
        """Renew the lease; one of AWAY if PostgreSQL does not answer within the lease."""
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = await asyncpg.connect(self._url, timeout=c.CONNECT_TIMEOUT_S, command_timeout=self._lease_s / 4)
            self._connection = connection
        return await renew(connection, self._worker_id, self._lease_s, running, draining=draining)

    def close(self) -> None:
        """Cut the connection."""
        if self._connection is not None:
            self._connection.terminate()


async def leave(connection: Queryable, worker_id: UUID, death: str) -> None:
    """End an incarnation for good."""
    await connection.execute(LEAVE, worker_id, death)
