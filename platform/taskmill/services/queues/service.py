"""Queues: what waits in them, and their pause."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec

from taskmill import bounds, naming, reasons
from taskmill import constants as c
from taskmill.clock import Timestamp
from taskmill.errors import Code, ConflictError, InputError, NotFoundError
from taskmill.log import get_logger
from taskmill.models import TaskQueue
from taskmill.services import constants as svc
from taskmill.services.page import Page, Paging, cut
from taskmill.services.queues.backlog import BacklogService
from taskmill.services.tasks.submit import SubmitService
from taskmill.services.view import view
from taskmill.stores.broker.tickets import BROKER_AWAY, Tickets
from taskmill.stores.database import Database
from taskmill.stores.queues import policy as task_queue
from taskmill.stores.queues.backlog import Backlog
from taskmill.stores.why import why

log = get_logger(__name__)


class LiveCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Live tasks by state."""

    scheduled: int
    available: int
    running: int
    retryable: int


class QueuePolicyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall hold for a queue; a field that is left out stays as it is.

    `retention_s`: seconds that its finished tasks are kept; 0: nothing is kept; null: as long as the platform keeps all.
    """

    paused: bool | msgspec.UnsetType = msgspec.UNSET
    retention_s: Annotated[int, bounds.RETENTION_S.meta()] | msgspec.UnsetType | None = msgspec.UNSET

    def check(self) -> None:
        """Raise InputError INVALID_REQUEST unless the retention is sound."""
        kept = self.retention_s
        if isinstance(kept, int) and (reason := bounds.RETENTION_S.refusal(kept)) is not None:
            raise InputError(Code.INVALID_REQUEST, field="retention_s", reason=reason)

    def values(self) -> dict[str, Any]:
        """Return the fields that were given."""
        fields = {"paused": self.paused, "retention_s": self.retention_s}
        return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """One queue; `oldest_wait_s` is how long its oldest available task has been ready.

    `retention_s`: how long its finished tasks are kept, at most as long as the platform keeps any (null: just so long).
    """

    name: str
    paused: bool
    paused_at: Timestamp | None
    paused_by: str | None
    retention_s: int | None
    live: LiveCounts
    oldest_wait_s: float
    created_at: Timestamp
    updated_at: Timestamp


class QueueService:
    """Queues appear with their first task, or when somebody sets their policy."""

    def __init__(self, database: Database, tickets: Tickets, backlog: BacklogService, submit: SubmitService) -> None:
        self._database = database
        self._submit = submit
        self._tickets = tickets
        self._backlog = backlog

    async def list(self, paging: Paging) -> Page[QueueView]:
        """Return one page of queues by name."""
        counts = await self._backlog.counts()
        async with self._database.sessions.begin() as session:
            rows = await task_queue.fetch_all(session)
        return cut(rows, paging, lambda row: _view(row, counts.get(row.name)))

    async def get(self, name: str) -> QueueView:
        """Return one queue; NotFoundError QUEUE_NOT_FOUND."""
        async with self._database.sessions.begin() as session:
            row = await task_queue.fetch(session, name)
        if row is None:
            raise NotFoundError(Code.QUEUE_NOT_FOUND, queue=name)
        return _view(row, await self._backlog.of(name))

    async def pause(self, name: str, *, by: str | None = None) -> QueueView:
        """Let no further task of the queue start; running ones go on."""
        async with self._database.sessions.begin() as session:
            found = await task_queue.pause(session, name, by)
        if not found:
            raise NotFoundError(Code.QUEUE_NOT_FOUND, queue=name)
        log.info("队列已暂停", queue=name, by=by)
        return await self.get(name)

    async def resume(self, name: str, *, by: str | None = None) -> QueueView:
        """Let the tasks of the queue start again."""
        async with self._database.sessions.begin() as session:
            found = await task_queue.resume(session, name)
        if not found:
            raise NotFoundError(Code.QUEUE_NOT_FOUND, queue=name)
        log.info("队列已恢复", queue=name, by=by)
        return await self.get(name)

    async def put(self, name: str, change: QueuePolicyChange, *, by: str | None = None) -> QueueView:
        """Set the policy of a queue, which is made if it is unknown; InputError INVALID_REQUEST, LimitError QUEUE_LIMIT."""
        check_name(name)
        change.check()
        await self._database.unit(lambda connection: self._submit.admit(connection, {name}))
        async with self._database.sessions.begin() as session:
            await task_queue.put(session, name, change.values(), by)
        log.info("队列策略已设置", queue=name, by=by)
        return await self.get(name)

    async def delete(self, name: str, *, by: str | None = None) -> QueueView:
        """Delete a queue and its policy; what it finished stays in history. A later task makes it anew.

        NotFoundError QUEUE_NOT_FOUND, ConflictError QUEUE_NOT_EMPTY while it has live tasks.
        """
        found = await self.get(name)
        async with self._database.sessions.begin() as session:
            gone = await task_queue.remove(session, name)
        if gone is None:
            raise NotFoundError(Code.QUEUE_NOT_FOUND, queue=name)
        if not gone:
            raise ConflictError(Code.QUEUE_NOT_EMPTY, queue=name)
        log.info("队列已删除", queue=name, by=by)
        try:
            async with asyncio.timeout(svc.TICKET_HANG_S):
                await self._tickets.forget(name)
        except BROKER_AWAY as error:
            log.warning("队列的票据流留在 Valkey 里", queue=name, error=why(error))  # 空的，无害
        return found


def check_name(name: str) -> None:
    """Raise InputError INVALID_REQUEST unless a queue may have this name."""
    if not naming.is_queue(name):
        raise InputError(Code.INVALID_REQUEST, field="queue", reason=reasons.QUEUE_NAME(limit=c.NAME_MAX_CHARS))


def live(counts: Backlog) -> LiveCounts:
    """Return the counts by state."""
    return LiveCounts(
        scheduled=counts.scheduled, available=counts.available, running=counts.running, retryable=counts.retryable
    )


def _view(row: TaskQueue, counts: Backlog | None) -> QueueView:
    found = counts or Backlog(row.name)
    return view(
        QueueView,
        row,
        paused=row.paused_at is not None,
        live=live(found),
        oldest_wait_s=round(found.oldest_wait_s, 3),
    )
