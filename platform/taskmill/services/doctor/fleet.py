"""What `taskmill doctor` says of those who do the work: schedulers, tasks that nobody takes, paused queues."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from taskmill.services import constants as c
from taskmill.settings import Settings
from taskmill.stores import diagnose
from taskmill.stores.tasks.explain import waiting
from taskmill.stores.tasks.order import sequences
from taskmill.stores.workers import scheduler
from taskmill.words import Words

NO_SCHEDULER = Words(
    "没有活着的：延时、重试、定时的任务不会开始", "none lives: delayed, retried and scheduled tasks do not start"
)
SCHEDULERS = Words("{n} 个活着", "{n} live")
UNSERVED = Words(
    "{n} 个任务在等，没有活着的工作进程服务队列 {queue}", "{n} tasks wait, no live worker serves the queue {queue}"
)
UNKNOWN = Words(
    "{n} 个 {kind} 在等，队列 {queue} 的工作进程都不认得", "{n} of {kind} wait, no live worker of the queue {queue} knows it"
)
SERVED = Words("每个在等的任务都有工作进程会来领", "each that waits is served by a live worker")
PLUGINS = Words("看工作进程的日志：它的插件加载失败了吗", "see the logs of the workers: did the plugin fail to load")
STOPPED = Words(
    "停在失败的任务 {id} 上，{n} 个在等；不要它了：taskmill task skip {id}",
    "stopped by the failed task {id}, {n} wait; if it is not wanted: taskmill task skip {id}",
)
PAUSED = Words("由 {by} 暂停，{n} 个任务在等", "paused by {by}, {n} tasks wait")


@dataclass(frozen=True, slots=True)
class FleetFinding:
    """One check, its words still in both languages; `ok` None: worth knowing, nothing wrong."""

    name: str
    ok: bool | None
    detail: Words
    fix: Words | str = ""


async def examine(settings: Settings) -> list[FleetFinding]:
    """Look at schedulers, at tasks that no live worker takes, at paused queues and at stopped sequences; errors of asyncpg pass through."""
    connection = await diagnose.connect(settings.require_database_url())
    try:
        living = await scheduler.count_living(connection)
        needed = living == 0 and await scheduler.is_needed(connection)
        lost = await waiting.unserved(connection, c.DOCTOR_LINES_MAX)
        paused = await waiting.paused(connection, c.DOCTOR_LINES_MAX)
        stopped = await sequences.stopped(connection, c.DOCTOR_LINES_MAX)
    finally:
        await connection.close()
    found = [_schedulers(living, needed), *(_unserved(*row) for row in lost)]
    if not lost:
        found.append(FleetFinding("waiting tasks", True, SERVED))
    return [*found, *(_paused(*row) for row in paused), *(_stopped(*row) for row in stopped)]


def _schedulers(living: int, needed: bool) -> FleetFinding:  # noqa: FBT001 - 数据库的一格
    """刚迁移好、什么都还没起来的系统没有毛病，与没有工作进程一样；有了任务、计划或工作进程，才缺它不可。"""
    if living:
        return FleetFinding("schedulers", True, SCHEDULERS(n=living))
    return FleetFinding("schedulers", False if needed else None, NO_SCHEDULER, "taskmill scheduler")


def _unserved(queue: str, kind: str, count: int, served: bool) -> FleetFinding:  # noqa: FBT001 - 数据库的一行
    if served:
        return FleetFinding("waiting tasks", False, UNKNOWN(n=count, kind=kind, queue=queue), PLUGINS)
    return FleetFinding("waiting tasks", False, UNSERVED(n=count, queue=queue), f"taskmill worker --queue {queue}")


def _paused(queue: str, by: str | None, count: int) -> FleetFinding:
    return FleetFinding(f"queue {queue}", None, PAUSED(by=by or "?", n=count), f"taskmill queue resume {queue}")


def _stopped(key: str, task_id: UUID, count: int) -> FleetFinding:
    return FleetFinding(f"sequence {key}", None, STOPPED(id=task_id, n=count), f"taskmill task retry {task_id}")
