"""Queues: what waits in them, and their pause."""

from __future__ import annotations

import msgspec

from taskmill.clock import Timestamp, rfc3339
from taskmill.errors import Code, NotFoundError
from taskmill.log import get_logger
from taskmill.models import TaskQueue
from taskmill.services.backlog import BacklogService
from taskmill.services.page import Page, Paging, cut
from taskmill.services.task_view import stamp
from taskmill.stores import task_queue
from taskmill.stores.backlog import Backlog
from taskmill.stores.database import Database

log = get_logger(__name__)


class LiveCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Live tasks by state."""

    scheduled: int
    available: int
    running: int
    retryable: int


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """One queue; `oldest_wait_s` is how long its oldest available task has been ready."""

    name: str
    paused: bool
    paused_at: Timestamp | None
    paused_by: str | None
    live: LiveCounts
    oldest_wait_s: float
    created_at: Timestamp
    updated_at: Timestamp


class QueueService:
    """Queues appear with their first task."""

    def __init__(self, database: Database, backlog: BacklogService) -> None:
        self._database = database
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
        return await self._changed(name, "队列已暂停", found=found, by=by)

    async def resume(self, name: str, *, by: str | None = None) -> QueueView:
        """Let the tasks of the queue start again."""
        async with self._database.sessions.begin() as session:
            found = await task_queue.resume(session, name)
        return await self._changed(name, "队列已恢复", found=found, by=by)

    async def _changed(self, name: str, event: str, *, found: bool, by: str | None) -> QueueView:
        if not found:
            raise NotFoundError(Code.QUEUE_NOT_FOUND, queue=name)
        log.info(event, queue=name, by=by)
        return await self.get(name)


def live(counts: Backlog) -> LiveCounts:
    """Return the counts by state."""
    return LiveCounts(
        scheduled=counts.scheduled, available=counts.available, running=counts.running, retryable=counts.retryable
    )


def _view(row: TaskQueue, counts: Backlog | None) -> QueueView:
    found = counts or Backlog(row.name)
    return QueueView(
        name=row.name, paused=row.paused_at is not None, paused_at=stamp(row.paused_at), paused_by=row.paused_by,
        live=live(found), oldest_wait_s=round(found.oldest_wait_s, 3),
        created_at=rfc3339(row.created_at), updated_at=rfc3339(row.updated_at),
    )
