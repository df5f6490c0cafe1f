"""Sums over rollups: what finished, by queue and outcome, and over time with the histograms of waits and runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.rollup import Rollup

# 跑过的才有等待与执行的时长；条件另拼，只有常量，值都是绑定的
_SERIES = """
select date_bin(cast(:step as interval), minute, to_timestamp(0)) as at,
       coalesce(sum(n) filter (where outcome = 'completed'), 0)::bigint as completed,
       coalesce(sum(n) filter (where outcome = 'discarded'), 0)::bigint as discarded,
       coalesce(sum(n) filter (where outcome = 'cancelled'), 0)::bigint as cancelled,
       coalesce(sum(wait_hist) filter (where outcome in ('completed', 'discarded')), 0)::text as wait_hist,
       coalesce(sum(run_hist) filter (where outcome in ('completed', 'discarded')), 0)::text as run_hist
from taskmill.rollups where minute >= :since {conditions}
group by 1 order by 1
"""
_CONDITIONS = {"queue": "and queue = :queue", "kind": "and kind = :kind"}


@dataclass(frozen=True, slots=True)
class Interval:
    """What finished in one interval that begins `at`, with the packed histograms of waits and runs."""

    at: datetime
    completed: int = 0
    discarded: int = 0
    cancelled: int = 0
    wait_hist: str = "0"
    run_hist: str = "0"


async def now(session: AsyncSession) -> datetime:
    """Return PostgreSQL's time."""
    return (await session.execute(select(func.now()))).scalar_one()


async def series(
    session: AsyncSession, since: datetime, step: timedelta, *, queue: str | None, kind: str | None
) -> list[Interval]:
    """Return the intervals of the length `step` from `since` on in which something finished; those begin at multiples of it."""
    given = {name: value for name, value in (("queue", queue), ("kind", kind)) if value is not None}
    statement = text(_SERIES.format(conditions=" ".join(_CONDITIONS[name] for name in given)))
    rows = await session.execute(statement, {"since": since, "step": step, **given})
    return [Interval(*row) for row in rows]


async def totals(session: AsyncSession, minutes: int) -> Sequence[Any]:
    """Return (queue, outcome, n, wait_ms, run_ms) summed over the last `minutes` and the current one."""
    statement = (
        select(
            Rollup.queue,
            Rollup.outcome,
            func.sum(Rollup.n).label("n"),
            func.sum(Rollup.wait_ms).label("wait_ms"),
            func.sum(Rollup.run_ms).label("run_ms"),
        )
        .where(Rollup.minute >= func.date_trunc("minute", func.now()) - timedelta(minutes=minutes))
        .group_by(Rollup.queue, Rollup.outcome)
        .order_by(Rollup.queue, Rollup.outcome)
    )
    return (await session.execute(statement)).all()
