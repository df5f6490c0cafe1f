"""Schedules: made, changed, paused, run by hand. The cron loop fires them; `schedule_sync` brings the plugins' ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from taskmill import bounds
from taskmill import constants as c
from taskmill.clock import Timestamp, rfc3339
from taskmill.controls.once import Once
from taskmill.errors import Code, ConflictError, NotFoundError, TaskmillError
from taskmill.ids import as_id, new_id
from taskmill.log import get_logger
from taskmill.models.schedule import Schedule
from taskmill.services.page import Page, Paging
from taskmill.services.tasks.idempotency import Idempotency
from taskmill.services.tasks.submit import SubmitService
from taskmill.services.tasks.submit_request import Args, Priority, QueueName, SubmitRequest
from taskmill.services.view import shown, view
from taskmill.stores import schedule as store
from taskmill.stores.database import Connection, Database
from taskmill.stores.tasks.submit import NewTask
from taskmill.timetable.schedule import check_schedule
from taskmill.timetable.timetable import Timetable

log = get_logger(
    __name__,
    {
        "计划已创建": "schedule created",
        "计划已修改": "schedule changed",
        "计划已删除": "schedule deleted",
        "计划已暂停": "schedule paused",
        "计划已恢复": "schedule resumed",
        "计划已手动触发": "schedule fired by hand",
    },
)
SOURCE_API = "api"
SOURCE_KUBERNETES = "kubernetes"  # 集群里的对象带来的计划；created_by 是那个对象
CRON = "Five fields, or six with seconds first; not together with `interval_s`."
CATCH_UP = "Of the fires missed while no scheduler ran, the latest is made up for if it is at most this late."
PLUGIN_PREFIX = "plugin:"  # 插件带来的计划：source = plugin:<插件名>


class ScheduleRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client says of a schedule: `cron` or `interval_s`, and the task that each fire submits.

    `catch_up_s`: of the fires missed while no scheduler ran, the latest is made up for if it is at most this late.
    """

    name: Annotated[
        str, Meta(description="Unique; letters, digits and `_ . : -`.", extra_json_schema={"maxLength": c.NAME_MAX_CHARS})
    ]
    kind: Annotated[
        str,
        Meta(description="Kind of the task that each fire submits.", extra_json_schema={"maxLength": c.NAME_MAX_CHARS}),
    ]
    args: Args = msgspec.field(default_factory=dict[str, Any])
    queue: QueueName | None = None
    priority: Priority | None = None
    cron: Annotated[str, Meta(description=CRON)] | None = None
    interval_s: Annotated[float, bounds.INTERVAL_S.meta("Seconds between fires.")] | None = None
    timezone: Annotated[str, Meta(description="IANA name, such as `Asia/Shanghai`.")] = "UTC"
    catch_up_s: Annotated[float, bounds.CATCH_UP_S.meta(CATCH_UP)] = c.CATCH_UP_DEFAULT_S

    @property
    def timetable(self) -> Timetable:
        """Return when it fires, not checked."""
        return Timetable(self.cron, self.interval_s, self.timezone)

    def check(self) -> None:
        """Raise InputError SCHEDULE_INVALID unless name, timetable and catch-up window are sound."""
        check_schedule(self.name, self.timetable, self.catch_up_s)


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule. `missed_count`: fires that were given up; `last_error`: why the last fire made no task."""

    id: UUID
    name: str
    source: str
    kind: str
    args: Any
    queue: str | None
    priority: int | None
    cron: str | None
    interval_s: float | None
    timezone: str
    catch_up_s: float
    paused: bool
    paused_at: Timestamp | None
    next_fire_at: Timestamp | None
    last_fire_at: Timestamp | None
    last_task_id: UUID | None
    missed_count: int
    last_error: str | None
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp


class ScheduleRun(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a schedule was told to submit at once."""

    schedule_id: UUID
    task_id: UUID


class ScheduleService:
    """Rules of schedules. `key` is an id or a name everywhere; NotFoundError SCHEDULE_NOT_FOUND if there is none."""

    def __init__(self, database: Database, submit: SubmitService) -> None:
        self._database = database
        self._submit = submit
        self._answers = Idempotency(database)

    async def create(self, request: ScheduleRequest, *, created_by: str | None = None) -> ScheduleView:
        """Make a schedule; its first fire is the next one of its timetable.

        Raises InputError SCHEDULE_INVALID or ARGS_INVALID, NotFoundError KIND_NOT_FOUND, ConflictError SCHEDULE_EXISTS.
        """
        await self._check(request)
        async with self._database.sessions.begin() as session:
            now = await store.now(session)
            values = {"id": new_id(), "source": SOURCE_API, "created_by": created_by, **_columns(request)}
            row = await store.add(session, {**values, "next_fire_at": next_fire(request.timetable, now)})
            if row is None:
                raise ConflictError(Code.SCHEDULE_EXISTS, name=request.name)
            made = _view(row)
        log.info("计划已创建", schedule=made.name, schedule_id=str(made.id), kind=made.kind, by=created_by)
        return made

    async def list(self, paging: Paging) -> Page[ScheduleView]:
        """Return one page of schedules by name."""
        async with self._database.sessions.begin() as session:
            rows, total = await store.fetch_page(session, limit=paging.page_size, offset=paging.offset)
            items = [_view(row) for row in rows]
        return Page(items=items, page=paging.page, page_size=paging.page_size, total=total)

    async def get(self, key: str) -> ScheduleView:
        """Return one schedule."""
        return _view(await self._fetch(key))

    async def update(self, key: str, request: ScheduleRequest, *, by: str | None = None) -> ScheduleView:
        """Replace what a client says of a schedule; pause, and the next fire if the timetable is the same, are kept.

        Errors as in `create`, and ConflictError SCHEDULE_OWNED if a plugin or an object of a cluster defines it.
        """
        await self._check(request)
        async with self._database.sessions.begin() as session:
            row = await _found(session, key)
            if row.source != SOURCE_API:
                owner = row.source if row.source.startswith(PLUGIN_PREFIX) else f"{row.source}:{row.created_by}"
                raise ConflictError(Code.SCHEDULE_OWNED, schedule=row.name, owner=owner)
            values = {**_columns(request), "last_error": None}
            if timetable_of(row) != request.timetable:
                values["next_fire_at"] = next_fire(request.timetable, await store.now(session))
            try:
                made = _view(await store.change(session, row.id, values))
            except store.NameTakenError as error:
                raise ConflictError(Code.SCHEDULE_EXISTS, name=request.name) from error
        log.info("计划已修改", schedule=made.name, schedule_id=str(made.id), by=by)
        return made

    async def delete(self, key: str, *, by: str | None = None) -> ScheduleView:
        """Remove a schedule and return it as it was; its tasks stay. A plugin's one comes back when the plugin does."""
        async with self._database.sessions.begin() as session:
            row = await _found(session, key)
            made = _view(row)
            await store.remove(session, row.id)
        log.info("计划已删除", schedule=made.name, schedule_id=str(made.id), by=by)
        return made

    async def pause(self, key: str, *, by: str | None = None) -> ScheduleView:
        """Let it fire no more; pausing twice changes nothing."""
        async with self._database.sessions.begin() as session:
            row = await _found(session, key)
            if row.paused_at is None:
                row = await store.change(session, row.id, {"paused_at": await store.now(session)})
            made = _view(row)
        log.info("计划已暂停", schedule=made.name, schedule_id=str(made.id), by=by)
        return made

    async def resume(self, key: str, *, by: str | None = None) -> ScheduleView:
        """Let it fire again from its next time on; what lay in the pause is never made up for, nor counted as missed."""
        async with self._database.sessions.begin() as session:
            row = await _found(session, key)
            if row.paused_at is not None:
                # 间隔计划留在原来的刻度上
                following = next_fire(timetable_of(row), await store.now(session), row.next_fire_at)
                row = await store.change(session, row.id, {"paused_at": None, "next_fire_at": following})
            made = _view(row)
        log.info("计划已恢复", schedule=made.name, schedule_id=str(made.id), by=by)
        return made

    async def run(self, key: str, *, by: str | None = None, once: Once | None = None) -> ScheduleRun:
        """Submit its task at once, paused or not; its timetable does not change. With `once` the answer is kept with it.

        Errors as in `create`, QUEUE_LIMIT, UNIQUE_BUSY and UNIQUE_TAKEN; LateError. Of a unique task that is there it names that one.
        """
        row = await self._fetch(key)
        request = SubmitRequest(kind=row.kind, args=row.args, queue=row.queue, priority=row.priority)
        task = await self._submit.prepare(request, created_by=by, schedule_id=row.id)
        made = await self._database.unit(partial(self._run, row.id, task, once))
        log.info("计划已手动触发", schedule=row.name, schedule_id=str(row.id), task_id=str(made.task_id), by=by)
        return made

    async def _run(self, schedule_id: UUID, task: NewTask, once: Once | None, connection: Connection) -> ScheduleRun:
        found = (await self._submit.store(connection, [task])).get(task.id, task.id)
        if isinstance(found, TaskmillError):
            raise found
        made = ScheduleRun(schedule_id=schedule_id, task_id=found)
        if once is not None:
            await self._answers.save(connection, once, made)
        return made

    async def next(self, key: str, count: int) -> list[Timestamp]:
        """Return the times of the next fires, at most NEXT_FIRES_MAX; of a paused one, as if it were resumed now."""
        async with self._database.sessions.begin() as session:
            row = await _found(session, key)
            now = await store.now(session)
        return [rfc3339(fire) for fire in timetable_of(row).next_fires(now, count, row.next_fire_at)]

    async def _fetch(self, key: str) -> Schedule:
        async with self._database.sessions.begin() as session:
            return await _found(session, key, lock=False)

    async def _check(self, request: ScheduleRequest) -> None:
        request.check()
        await self._submit.prepare(
            SubmitRequest(kind=request.kind, args=request.args, queue=request.queue, priority=request.priority)
        )


def timetable_of(row: Schedule) -> Timetable:
    """Return when a stored schedule fires."""
    return Timetable(row.cron, row.interval_s, row.timezone)


def next_fire(timetable: Timetable, now: datetime, anchor: datetime | None = None) -> datetime | None:
    """Return the first fire after `now`."""
    return next(timetable.fires_after(now, anchor), None)


async def _found(session: store.Session, key: str, *, lock: bool = True) -> Schedule:
    row = await store.fetch(session, as_id(key) or key, lock=lock) if "\x00" not in key else None
    if row is None:
        raise NotFoundError(Code.SCHEDULE_NOT_FOUND, schedule=key)
    return row


def _columns(request: ScheduleRequest) -> Mapping[str, Any]:
    return msgspec.structs.asdict(request)


def _view(row: Schedule | None) -> ScheduleView:
    if row is None:  # 行已锁住，不会消失
        raise AssertionError
    next_fire_at = None if row.paused_at else shown(row.next_fire_at)
    return view(ScheduleView, row, paused=row.paused_at is not None, next_fire_at=next_fire_at)
