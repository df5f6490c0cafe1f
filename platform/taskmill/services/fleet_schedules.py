"""Schedules that an operator writes on behalf of objects in a cluster; the rules are those of all schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill import reasons
from taskmill.clock import SYSTEM_CLOCK
from taskmill.errors import Code, ConflictError, InputError
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.models.schedule import Schedule
from taskmill.services.kinds import KindCache
from taskmill.services.schedules.service import SOURCE_KUBERNETES, ScheduleRequest, next_fire, timetable_of
from taskmill.services.tasks.payload import encode
from taskmill.services.tasks.submit_request import SubmitRequest, check_request
from taskmill.stores import schedule as store
from taskmill.stores.database import Database

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ScheduleFact:
    """Where a schedule of the cluster stands; `owner` is the object that wrote it."""

    name: str
    owner: str
    kind: str
    paused: bool
    next_fire_at: datetime | None
    last_fire_at: datetime | None
    last_task_id: UUID | None
    missed_count: int
    last_error: str | None


class FleetSchedules:
    """Reads and writes the schedules whose source is the cluster; those of others are never touched."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kinds = KindCache(database, SYSTEM_CLOCK)

    async def list(self) -> dict[str, ScheduleFact]:
        """Return the cluster's schedules by name."""
        async with self._database.sessions.begin() as session:
            rows = await store.fetch_by_source(session, SOURCE_KUBERNETES)
            return {row.name: _fact(row) for row in rows}

    async def put(self, request: ScheduleRequest, *, suspend: bool, owner: str) -> ScheduleFact:
        """Make or change a schedule; writes nothing if it is as wanted.

        Raises InputError SCHEDULE_INVALID, ARGS_INVALID or INVALID_REQUEST, NotFoundError KIND_NOT_FOUND, ConflictError
        SCHEDULE_EXISTS if the name belongs to another source or another owner.
        """
        await self._check(request)
        async with self._database.sessions.begin() as session:
            row = await store.fetch(session, request.name, lock=True)
            if row is None:
                return _fact(await _add(session, request, suspend=suspend, owner=owner))
            if row.source != SOURCE_KUBERNETES or row.created_by != owner:
                raise ConflictError(Code.SCHEDULE_EXISTS, name=request.name)
            values = await _changes(session, row, request, suspend=suspend)
            if values:
                row = await store.change(session, row.id, values) or row
                log.info("集群的计划已修改", schedule=row.name, owner=owner, changed=sorted(values))
            return _fact(row)

    async def delete(self, name: str, *, owner: str) -> bool:
        """Remove a schedule of this owner; its tasks stay. False if there is none."""
        async with self._database.sessions.begin() as session:
            row = await store.fetch(session, name, lock=True)
            if row is None or row.source != SOURCE_KUBERNETES or row.created_by != owner:
                return False
            await store.remove(session, row.id)
        log.info("集群的计划已删除", schedule=name, owner=owner)
        return True

    async def _check(self, request: ScheduleRequest) -> None:
        request.check()
        check_request(SubmitRequest(kind=request.kind, queue=request.queue, priority=request.priority))
        encode(request.args, field="args", max_bytes=c.ARGS_MAX_BYTES, max_depth=c.ARGS_MAX_DEPTH)
        if not isinstance(request.args, dict):
            raise InputError(Code.ARGS_INVALID, field="args", reason=reasons.NOT_AN_OBJECT, kind=request.kind)
        (await self._kinds.get(request.kind, None)).check(request.args)


async def _add(session: store.Session, request: ScheduleRequest, *, suspend: bool, owner: str) -> Schedule:
    now = await store.now(session)
    values = {
        **msgspec.structs.asdict(request),
        "id": new_id(),
        "source": SOURCE_KUBERNETES,
        "created_by": owner,
        "next_fire_at": next_fire(request.timetable, now),
        "paused_at": now if suspend else None,
    }
    row = await store.add(session, values)
    if row is None:  # 刚被别人占了名
        raise ConflictError(Code.SCHEDULE_EXISTS, name=request.name)
    log.info("集群的计划已创建", schedule=request.name, owner=owner)
    return row


async def _changes(session: store.Session, row: Schedule, request: ScheduleRequest, *, suspend: bool) -> dict[str, Any]:
    """要改的列；时间表未变则保留下次触发，恢复时从下一次算起，停着的日子不补。"""
    wanted = msgspec.structs.asdict(request)
    values = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if values:
        values["last_error"] = None
    moved, resumed = timetable_of(row) != request.timetable, row.paused_at is not None and not suspend
    if moved or resumed:
        anchor = None if moved else row.next_fire_at
        values["next_fire_at"] = next_fire(request.timetable, await store.now(session), anchor)
    if resumed:
        values["paused_at"] = None
    elif suspend and row.paused_at is None:
        values["paused_at"] = await store.now(session)
    return values


def _fact(row: Schedule) -> ScheduleFact:
    return ScheduleFact(
        name=row.name,
        owner=row.created_by or "",
        kind=row.kind,
        paused=row.paused_at is not None,
        next_fire_at=None if row.paused_at else row.next_fire_at,
        last_fire_at=row.last_fire_at,
        last_task_id=row.last_task_id,
        missed_count=row.missed_count,
        last_error=row.last_error,
    )
