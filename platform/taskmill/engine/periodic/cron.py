"""Cron: submits a task for every fire of every schedule, once, however many schedulers run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.engine.periodic.lookout import Lookout
from taskmill.errors import SetupError, TaskmillError, UnavailableError
from taskmill.log import get_logger
from taskmill.services.tasks.submit import SubmitService
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores import schedule as store
from taskmill.stores.database import AWAY, Connection, Database
from taskmill.stores.schedule import Advance, DueRow
from taskmill.stores.tasks.submit import NewTask
from taskmill.timetable.timetable import Due, Timetable

log = get_logger(__name__)
NOTHING = {"fired": 0, "missed": 0, "failed": 0, "more": 0}


@dataclass(slots=True)
class _Plan:
    """一个到期的计划：触发哪些时刻、各交什么任务。"""

    row: DueRow
    due: Due
    tasks: list[tuple[datetime, NewTask]] = field(default_factory=list)
    error: str | None = None


class Cron:
    """Runs on every scheduler replica; a row lock and the key of `schedule_fires` make each fire happen once.

    Fires, tasks and the new `next_fire_at` commit together. PostgreSQL's clock decides what is due. Which missed fires
    are made up for: `Timetable.due`. A schedule whose task is refused records why and goes on to its next fire.
    """

    name = "cron"
    period_s = ec.CRON_PERIOD_S

    def __init__(
        self, database: Database, submit: SubmitService, *, batch: int = ec.CRON_BATCH, lookout: Lookout | None = None
    ) -> None:
        self._database = database
        self._lookout = lookout or Lookout(database)
        self._submit = submit
        self._batch = batch

    async def run_once(self) -> Mapping[str, int]:
        """Fire what is due; returns fired (tasks), missed (fires given up), failed (schedules) and more."""
        if not (await self._lookout.recent()).fires:
            return NOTHING
        return await self._database.unit(self._round)

    async def _round(self, connection: Connection) -> Mapping[str, int]:
        rows = await store.fetch_due(connection, self._batch)
        if not rows:
            return NOTHING
        plans = [await self._plan(connection, row) for row in rows]
        fired = await self._fire(connection, plans)
        await store.advance(connection, [_advance(plan, fired) for plan in plans])
        return {
            "fired": len(fired),
            "missed": sum(plan.due.missed for plan in plans),
            "failed": sum(plan.error is not None for plan in plans),
            "more": int(len(rows) == self._batch),
        }

    async def _plan(self, connection: Connection, row: DueRow) -> _Plan:
        timetable = Timetable(row.cron, row.interval_s, row.timezone)
        try:
            timetable.check()
        except TaskmillError as error:
            # 存入时是好的：多半是此机的时区数据太旧，别的副本或升级之后能算
            log.warning("计划的时间表无效，稍后再试", schedule=row.name, error=str(error))
            retry_at = row.now + timedelta(seconds=ec.CRON_RETRY_S)
            return _Plan(row, Due([], 0, retry_at), error=error.words.en)
        plan = _Plan(row, timetable.due(row.next_fire_at, row.now, row.catch_up_s))
        try:
            for fire_at in plan.due.fires:
                plan.tasks.append((fire_at, await self._task(row, fire_at)))
            await self._submit.admit(connection, {task.queue for _, task in plan.tasks})
        except (UnavailableError, SetupError, *AWAY):
            raise
        except (TaskmillError, msgspec.MsgspecError) as error:
            plan.tasks.clear()
            plan.error = (error.words.en if isinstance(error, TaskmillError) else str(error))[: c.ERROR_MESSAGE_MAX_CHARS]
            log.warning("计划触发失败", schedule=row.name, schedule_id=str(row.id), error=plan.error)
        return plan

    async def _task(self, row: DueRow, fire_at: datetime) -> NewTask:
        request = SubmitRequest(kind=row.kind, args=msgspec.json.decode(row.args), queue=row.queue, priority=row.priority)
        return await self._submit.prepare(request, created_by=f"schedule:{row.name}", schedule_id=row.id, fire_at=fire_at)

    async def _fire(self, connection: Connection, plans: list[_Plan]) -> dict[UUID, UUID]:
        """返回 交的任务 → 替它的任务：类型要求唯一而键被占着时，是占着键的那一个。"""
        tasks = {task.id: task for plan in plans for _, task in plan.tasks}
        if not tasks:
            return {}
        fires = [(plan.row.id, fire_at, task.id) for plan in plans for fire_at, task in plan.tasks]
        fired = await store.record_fires(connection, fires)
        if not fired:
            return {}
        instead = await self._submit.store(connection, [tasks[task_id] for task_id in fired])
        held = {task_id: holder for task_id, holder in instead.items() if isinstance(holder, UUID)}
        if held:
            await store.rename_fires(connection, held)
        for plan in plans:
            errors = [error for _, task in plan.tasks if isinstance(error := instead.get(task.id), TaskmillError)]
            if errors:
                plan.error = errors[-1].words.en[: c.ERROR_MESSAGE_MAX_CHARS]
                log.warning("计划触发失败", schedule=plan.row.name, schedule_id=str(plan.row.id), error=plan.error)
        return {task_id: held.get(task_id, task_id) for task_id in fired if task_id in held or task_id not in instead}


def _advance(plan: _Plan, fired: dict[UUID, UUID]) -> Advance:
    done = [(fire_at, fired[task.id]) for fire_at, task in plan.tasks if task.id in fired]
    last_fire_at, last_task_id = done[-1] if done else (None, None)
    return Advance(plan.row.id, plan.due.next_fire_at, last_fire_at, last_task_id, plan.due.missed, plan.error)
