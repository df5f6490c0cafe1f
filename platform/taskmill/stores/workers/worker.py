"""Rows of worker processes: registration, lease, end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from taskmill.states import Order, State
from taskmill.stores import wire
from taskmill.stores.database import AWAY, LOCKED_OUT, Queryable, raw_json
from taskmill.stores.tasks import failures
from taskmill.stores.tasks.failures import Failed
from taskmill.stores.tasks.settle import Outcome, settle
from taskmill.stores.workers.troubles import NONE, Troubles, encode

# 命令跟着 pod 走：租约丢了换编号、容器重启，都还得遵命
REGISTER = """
insert into taskmill.workers (id, hostname, pid, version, queues, kinds, concurrency, lease_until, pod, pod_uid, bundle,
                              order_kind, order_token, order_no)
select $1, $2, $3, $4, $5, $6, $7, now() + $8 * interval '1 second', $9, $10, $11,
       coalesce(p.order_kind, 'run'), coalesce(p.order_token, 0), coalesce(p.order_no, 0)
from (select) one left join lateral (
  select w.order_kind, w.order_token, w.order_no from taskmill.workers w where w.pod_uid = $10
  order by w.order_token desc, w.started_at desc limit 1
) p on true
returning order_kind, order_no
"""
# 一次往返：续租，并带回取消请求、暂停的队列与命令。死掉的编号永远续不上
RENEW = """
with renewed as (
  update taskmill.workers
  set lease_until = now() + $2 * interval '1 second', running = $3, draining = $4, ready = $5, order_seen = $6, settling = $7,
      troubles = $8::text::jsonb
  where id = $1 and dead_at is null returning order_kind, order_no
)
select exists (select from renewed) as alive,
       array(select t.id from taskmill.tasks t
             where t.worker_id = $1 and t.state = 'running' and t.cancel_requested_at is not null) as cancels,
       array(select q.name from taskmill.queues q where q.paused_at is not null) as paused,
       (select order_kind from renewed) as order_kind, (select order_no from renewed) as order_no
"""
LEAVE = "update taskmill.workers set dead_at = now(), running = 0, ready = false, settling = '{}', death = $2 where id = $1 and dead_at is null"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a worker says of itself once; `pod`, `pod_uid` and `bundle` are None outside of a cluster."""

    id: UUID
    hostname: str
    pid: int
    version: str
    queues: Sequence[str]
    kinds: Sequence[str]
    concurrency: int
    pod: str | None = None
    pod_uid: str | None = None
    bundle: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of itself with every renewal; `order_seen` is the number of the order that it has obeyed.

    `settling`: tasks that have ended and whose outcome waits to be written; the rescuer leaves them alone.
    """

    running: int = 0
    draining: bool = False
    ready: bool = False
    order_seen: int = 0
    settling: Sequence[UUID] = ()
    troubles: Troubles = NONE


@dataclass(frozen=True, slots=True)
class Renewal:
    """The reply to a heartbeat: is the lease alive, which tasks shall be cancelled, which queues are paused, the order."""

    alive: bool
    cancels: frozenset[UUID] = frozenset()
    paused: frozenset[str] = frozenset()
    order: Order = Order.RUN
    order_no: int = 0


async def register(connection: Queryable, worker: Registration, lease_s: float) -> tuple[Order, int]:
    """Insert the row of a new incarnation; returns the order that its pod has, and the order's number."""
    row = await connection.fetchrow(
        REGISTER,
        worker.id,
        worker.hostname,
        worker.pid,
        worker.version,
        worker.queues,
        worker.kinds,
        worker.concurrency,
        lease_s,
        worker.pod,
        worker.pod_uid,
        worker.bundle,
    )
    return (Order.RUN, 0) if row is None else (Order(row["order_kind"]), row["order_no"])


async def renew(connection: Queryable, worker_id: UUID, lease_s: float, report: Report) -> Renewal:
    """Renew the lease by the database's clock."""
    row = await connection.fetchrow(
        RENEW,
        worker_id,
        lease_s,
        report.running,
        report.draining,
        report.ready,
        report.order_seen,
        report.settling,
        encode(report.troubles),
    )
    if row is None or not row["alive"]:
        return Renewal(alive=False)
    return Renewal(True, frozenset(row["cancels"]), frozenset(row["paused"]), Order(row["order_kind"]), row["order_no"])


class LeaseConnection:
    """A connection of its own for one heartbeat; after any failure the next renewal opens another."""

    def __init__(self, database_url: str, worker_id: UUID, lease_s: float) -> None:
        self._url = database_url
        self._worker_id = worker_id
        self._lease_s = lease_s
        self._connection: wire.Wire | None = None

    async def renew(self, report: Report) -> Renewal:
        """Renew the lease; one of AWAY if PostgreSQL does not answer within a quarter of the lease, or cannot write."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await wire.connect(self._url, command_timeout_s=self._lease_s / 4)
            return await renew(self._connection, self._worker_id, self._lease_s, report)
        except BaseException:
            self.close()  # 断了、死了、主库换了：都不值得在这条连接上再试
            raise

    async def give_up(self, outcomes: Sequence[Outcome], writer: UUID, death: str) -> dict[UUID, State]:
        """End the incarnation, with an outcome for each row that it holds; returns the states of those whose fence matched."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await wire.connect(self._url, command_timeout_s=self._lease_s / 4)
            await raw_json(self._connection)
            failed = list[Failed]()
            async with self._connection.transaction():
                done = await settle(self._connection, outcomes, writer, failed=failed)
                await leave(self._connection, self._worker_id, death)
            with suppress(*AWAY, LOCKED_OUT):  # 结局已经写下；分组的计数不值得再等
                async with self._connection.transaction():
                    await failures.count(self._connection, failures.together(failed))
            return done
        finally:
            self.close()  # 编解码与续租的不同，也不再续租

    def close(self) -> None:
        """Cut the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def leave(connection: Queryable, worker_id: UUID, death: str) -> None:
    """End an incarnation for good."""
    await connection.execute(LEAVE, worker_id, death)
