"""The overview: what is live, what finished lately, who works."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from taskmill.services import constants as c
from taskmill.services.queues.backlog import BacklogService
from taskmill.services.queues.service import LiveCounts, live
from taskmill.services.workers import WorkerService
from taskmill.states import FINAL
from taskmill.stores.database import Database
from taskmill.stores.queues import rollup
from taskmill.stores.queues.backlog import Backlog


class StatsWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the overview."""

    minutes: Annotated[
        int, msgspec.Meta(ge=1, le=c.STATS_MINUTES_MAX, description="How far back finished tasks are counted.")
    ] = c.STATS_MINUTES_DEFAULT


class FinishedCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that became final in the window, and means over them (null: none ran)."""

    completed: int = 0
    cancelled: int = 0
    discarded: int = 0
    mean_wait_s: float | None = None
    mean_run_s: float | None = None


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """One queue."""

    queue: str
    live: LiveCounts
    oldest_wait_s: float
    finished: FinishedCounts


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over all queues, workers by state, the schedulers that live, and each queue with live tasks or finished ones in the window.

    At most STATS_QUEUES_MAX queues are listed, those with the most live tasks; `queues_total` counts them all.
    """

    minutes: int
    live: LiveCounts
    finished: FinishedCounts
    workers: dict[str, int]
    schedulers: int
    queues: list[QueueStats]
    queues_total: int


class StatsService:
    """Live counts are queried, finished ones summed from rollups: nothing scans history."""

    def __init__(self, database: Database, backlog: BacklogService, workers: WorkerService) -> None:
        self._database = database
        self._backlog = backlog
        self._workers = workers

    async def get(self, window: StatsWindow) -> Stats:
        """Return the overview."""
        counts = await self._backlog.counts()
        async with self._database.sessions.begin() as session:
            sums = await rollup.totals(session, window.minutes)
        final = [row for row in sums if row.outcome in FINAL]
        by_queue: dict[str, list[Any]] = {}
        for row in final:
            by_queue.setdefault(row.queue, []).append(row)
        names = {*counts, *by_queue}
        shown = sorted(names, key=lambda name: (-counts[name].total if name in counts else 0, name))[: c.STATS_QUEUES_MAX]
        return Stats(
            minutes=window.minutes,
            live=_all(counts),
            finished=_finished(final),
            workers=await self._workers.counts(),
            schedulers=await self._workers.schedulers(),
            queues=[
                QueueStats(
                    queue=name,
                    live=live(counts.get(name) or Backlog(name)),
                    oldest_wait_s=round((counts.get(name) or Backlog(name)).oldest_wait_s, 3),
                    finished=_finished(by_queue.get(name, [])),
                )
                for name in sorted(shown)
            ],
            queues_total=len(names),
        )


def _all(counts: dict[str, Backlog]) -> LiveCounts:
    return LiveCounts(
        scheduled=sum(row.scheduled for row in counts.values()),
        available=sum(row.available for row in counts.values()),
        running=sum(row.running for row in counts.values()),
        retryable=sum(row.retryable for row in counts.values()),
        blocked=sum(row.blocked for row in counts.values()),
    )


def _finished(rows: list[Any]) -> FinishedCounts:
    by_outcome: dict[str, int] = {}
    n = wait_ms = run_ms = 0
    for _, outcome, count, waited, ran in rows:
        by_outcome[outcome] = by_outcome.get(outcome, 0) + int(count)
        if outcome != "cancelled":  # 取消的任务多半没有运行过，均值只算真正跑完的
            n, wait_ms, run_ms = n + int(count), wait_ms + waited, run_ms + ran
    return FinishedCounts(
        **by_outcome,
        mean_wait_s=round(float(wait_ms) / n / 1000, 3) if n else None,
        mean_run_s=round(float(run_ms) / n / 1000, 3) if n else None,
    )
