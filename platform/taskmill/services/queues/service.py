"""Queues: what waits in them, and their pause."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec

from taskmill import constants as c
from taskmill import naming, reasons
from taskmill.controls.queue_settings import SETTINGS, Form, QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.errors import Code, ConflictError, InputError, NotFoundError
from taskmill.log import get_logger
from taskmill.models.task_queue import TaskQueue
from taskmill.services import constants as svc
from taskmill.services.page import Page, Paging
from taskmill.services.queues.backlog import BacklogService
from taskmill.services.queues.limits import LimitCache, Promoter
from taskmill.services.queues.policy import LiveCounts, QueueView
from taskmill.services.queues.preview import preview
from taskmill.services.tasks.submit import SubmitService
from taskmill.services.view import view
from taskmill.stores.broker.tickets import BROKER_AWAY, Tickets
from taskmill.stores.database import Database
from taskmill.stores.queues import policy as task_queue
from taskmill.stores.queues.backlog import Backlog
from taskmill.stores.why import why

log = get_logger(
    __name__,
    {
        "队列已暂停": "queue paused",
        "队列已恢复": "queue resumed",
        "队列策略已设置": "queue policy set",
        "队列已删除": "queue deleted",
        "队列的票据流留在 Valkey 里": "the ticket streams of a queue remain in Valkey",
    },
)


class QueueService:
    """Queues appear with their first task, or when somebody sets their policy."""

    def __init__(
        self,
        database: Database,
        tickets: Tickets,
        backlog: BacklogService,
        submit: SubmitService,
        promoter: Promoter,
        limits: LimitCache,
    ) -> None:
        self._database = database
        self._promoter, self._limits = promoter, limits
        self._submit = submit
        self._tickets = tickets
        self._backlog = backlog

    async def list(self, paging: Paging) -> Page[QueueView]:
        """Return one page of queues by name."""
        counts = await self._backlog.counts()
        async with self._database.sessions.begin() as session:
            rows, total = await task_queue.fetch_page(session, limit=paging.page_size, offset=paging.offset)
        items = [_view(row, counts.get(row.name)) for row in rows]
        return Page(items=items, page=paging.page, page_size=paging.page_size, total=total)

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
        self._promoter.soon([(name, None)])
        return await self.get(name)

    async def put(self, name: str, change: QueuePolicyChange, *, by: str | None = None) -> QueueView:
        """Set the policy of a queue, which is made if it is unknown; InputError INVALID_REQUEST, LimitError QUEUE_LIMIT."""
        check_name(name)
        change.check()
        await self._database.unit(lambda connection: self._submit.admit(connection, {name}))
        async with self._database.sessions.begin() as session:
            await task_queue.put(session, name, change.values(), by)
        log.info("队列策略已设置", queue=name, by=by)
        self._limits.forget()
        self._promoter.soon([(name, None)])  # 放宽了就马上放行；按键的由调度器一一看过
        return await self.get(name)

    async def preview(self, name: str, change: QueuePolicyChange, *, by: str | None = None) -> QueueView:
        """Return the queue as `change` would make it, and what that would do to its backlog; nothing is written. InputError INVALID_REQUEST."""
        check_name(name)
        change.check()
        async with self._database.sessions.begin() as session:
            found = await task_queue.fetch(session, name)
        now = datetime.now(UTC)
        row = TaskQueue(name=name, created_at=now, updated_at=now) if found is None else found
        for field, value in change.values().items():
            if field != "paused":
                setattr(row, field, value)  # 已不属于哪个会话：改了也不会写
        if isinstance(change.paused, bool):
            row.paused_at, row.paused_by = ((row.paused_at or now), row.paused_by or by) if change.paused else (None, None)
        made = _view(row, await self._backlog.of(name))
        settings = {field: getattr(made, field) for field in SETTINGS}
        told = await self._database.unit(lambda connection: preview(connection, name, settings))
        return msgspec.structs.replace(made, preview=told)

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
        scheduled=counts.scheduled,
        available=counts.available,
        running=counts.running,
        retryable=counts.retryable,
        blocked=counts.blocked,
        held=counts.held,
    )


def _view(row: TaskQueue, counts: Backlog | None) -> QueueView:
    found = counts or Backlog(row.name)
    rates = {
        name: None if (value := getattr(row, name)) is None else msgspec.convert(value, Rate)
        for name, setting in SETTINGS.items()
        if setting.form is Form.RATE
    }
    return view(
        QueueView,
        row,
        paused=row.paused_at is not None,
        live=live(found),
        oldest_wait_s=round(found.oldest_wait_s, 3),
        preview=msgspec.UNSET,
        **rates,
    )
