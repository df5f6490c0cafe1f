"""The fleet of one database as an operator sees it: load, workers in pods, orders, deaths, queues, schedules.

Needs PostgreSQL only, neither Valkey nor plugins, and not the newest schema: what the database lacks is told as
SetupError SCHEMA_BEHIND by the call that needs it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from taskmill.controls.queue_settings import SETTINGS, QueuePolicyChange
from taskmill.errors import Code, SetupError, TaskmillError, UnavailableError
from taskmill.log import get_logger
from taskmill.services.faults import translate
from taskmill.services.fleet_schedules import FleetSchedules, ScheduleFact
from taskmill.services.queues.policy import QueuePolicy
from taskmill.services.queues.service import check_name
from taskmill.services.schedules.service import ScheduleRequest
from taskmill.states import DEATHS, Cause, Order
from taskmill.stores.database import Database
from taskmill.stores.queues import policy as task_queue
from taskmill.stores.workers import fleet as store
from taskmill.stores.workers.fleet import PodDeath, QueueLoad, WorkerFact
from taskmill.stores.workers.troubles import Troubles

__all__ = [
    "Cause",
    "FleetService",
    "Order",
    "PodDeath",
    "QueueLoad",
    "QueuePolicy",
    "QueuePolicyChange",
    "ScheduleFact",
    "ScheduleRequest",
    "Troubles",
    "WorkerFact",
]
log = get_logger(__name__)


class FleetService:
    """One per database, at most two connections.

    Every method raises UnavailableError DATABASE_UNAVAILABLE (also when a statement took over 5 s) or SetupError
    SCHEMA_BEHIND; what it raises besides is said there.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schedules = FleetSchedules(database)

    @classmethod
    async def open(cls, database_url: str) -> FleetService:
        """Connect; the schema may still be missing."""
        database = Database(
            database_url,
            pool_size=1,
            orm_pool_size=1,
            server_settings=store.SETTINGS,
            command_timeout_s=store.COMMAND_TIMEOUT_S,
        )
        await database.open()
        return cls(database)

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()

    async def observe(self, *, since: datetime, horizon_s: float) -> dict[str, QueueLoad]:
        """Return the load of every known queue by name, from one statement; idle queues are there with zeros."""
        async with _told():
            return {load.queue: load for load in await store.observe(self._database.pool, since, horizon_s)}

    async def workers(self) -> list[WorkerFact]:
        """Return the living incarnations that run in pods, the oldest first."""
        async with _told():
            return await store.workers(self._database.pool)

    async def order(self, pod_uids: Sequence[str], order: Order, token: int) -> int:
        """Tell the workers of pods to drain or to run; one with a newer token's order is left alone.

        Obeyed with the worker's next heartbeat. Returns how many rows changed; an order that stands already changes none.
        """
        if not pod_uids:
            return 0
        async with _told():
            changed = await store.order(self._database.pool, pod_uids, order, token)
        log.info("已下达命令", order=order.value, token=token, pods=len(pod_uids), changed=changed)
        return changed

    async def bury(self, deaths: Sequence[PodDeath]) -> int:
        """Note why the containers of pods ended; their attempts carry the cause. Returns how many rows changed.

        Only incarnations that registered before the death are meant: a container that was started again in the same pod
        lives. ValueError if a cause is not one of states.DEATHS.
        """
        strange = [death.cause for death in deaths if death.cause not in DEATHS]
        if strange:
            message = f"not a cause of a pod's death: {strange[0]}"
            raise ValueError(message)
        if not deaths:
            return 0
        async with _told():
            buried = await store.bury(self._database.pool, deaths)
        if buried:
            log.info("已记下容器的死因", causes=sorted({death.cause.value for death in deaths}), changed=buried)
        return buried

    async def queues(self) -> dict[str, QueuePolicy]:
        """Return the policy of every queue by name."""
        async with _told(), self._database.sessions.begin() as session:
            rows = await task_queue.fetch_rows(session)
            return {row["name"]: _policy(row) for row in rows}

    async def put_queue(self, name: str, policy: QueuePolicyChange, by: str, former: str = "") -> None:
        """Set the policy of a queue, which is made if it is unknown; InputError INVALID_REQUEST.

        A pause that stands keeps its author, unless that is `former`, an earlier name of `by`. What the database has no
        column for yet is left out: `queues` shows what it has.
        """
        check_name(name)
        policy.check()
        async with _told(), self._database.sessions.begin() as session:
            known = {"paused", *await task_queue.columns(session)}
            values = {field: value for field, value in policy.values().items() if field in known}
            await task_queue.put(session, name, values, by, former)

    async def schedules(self) -> dict[str, ScheduleFact]:
        """Return the schedules that objects of the cluster own, by name."""
        async with _told():
            return await self._schedules.list()

    async def put_schedule(self, request: ScheduleRequest, *, owner: str, suspend: bool = False) -> ScheduleFact:
        """Make or change a schedule for `owner` (such as `namespace/name`); errors as in FleetSchedules.put."""
        async with _told():
            return await self._schedules.put(request, suspend=suspend, owner=owner)

    async def delete_schedule(self, name: str, *, owner: str) -> bool:
        """Remove a schedule of `owner`; its tasks stay. False if it has none of that name."""
        async with _told():
            return await self._schedules.delete(name, owner=owner)


def _policy(row: Mapping[str, Any]) -> QueuePolicy:
    settings = {name: row[name] for name in SETTINGS if name in row}
    return QueuePolicy(paused=row["paused_at"] is not None, paused_by=row["paused_by"], settings=settings)


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """驱动的错误换成有代码的：缺表缺列是尚未迁移，其余的数据库错误都算连不上，稍后再试。"""
    try:
        yield
    except TaskmillError:
        raise
    except Exception as error:
        known = translate(error)
        if isinstance(known, (UnavailableError, SetupError)):
            raise known from error
        if known is not None or isinstance(error, store.FAILURES):
            reason = str(error) or type(error).__name__
            raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason=reason) from error
        raise
