"""Counted transitions: added by whoever performs one, summed on read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import Rollup
from taskmill.stores.database import Connection

ADD = """
insert into taskmill.rollups as r (minute, queue, kind, outcome, writer, n)
values (date_trunc('minute', now()), $1, $2, $3, $4, 1)
on conflict (minute, queue, kind, outcome, writer) do update set n = r.n + excluded.n
"""


@dataclass(frozen=True, slots=True)
class OutcomeTotal:
    """Transitions of one queue into one outcome within a window; the sums are milliseconds."""

    queue: str
    outcome: str
    n: int
    wait_ms: int
    run_ms: int


@dataclass(frozen=True, slots=True)
class MinuteTotal:
    """Transitions into one outcome within one minute."""

    minute: datetime
    outcome: str
    n: int


async def add(connection: Connection, queue: str, kind: str, outcome: str, writer: UUID) -> None:
    """Count one transition in the caller's transaction."""
    await connection.execute(ADD, queue, kind, outcome, writer)


async def totals(session: AsyncSession, window: timedelta) -> list[OutcomeTotal]:
    """Sum the last `window` by queue and outcome."""
    statement = (
        select(Rollup.queue, Rollup.outcome, func.sum(Rollup.n), func.sum(Rollup.wait_ms), func.sum(Rollup.run_ms))
        .where(Rollup.minute > func.now() - window)
        .group_by(Rollup.queue, Rollup.outcome)
    )
    rows = (await session.execute(statement)).all()
    return [OutcomeTotal(queue, outcome, int(n), int(wait), int(run)) for queue, outcome, n, wait, run in rows]


async def minutes(session: AsyncSession, window: timedelta) -> list[MinuteTotal]:
    """Sum the last `window` by minute and outcome, oldest first."""
    statement = (
        select(Rollup.minute, Rollup.outcome, func.sum(Rollup.n))
        .where(Rollup.minute > func.now() - window)
        .group_by(Rollup.minute, Rollup.outcome)
        .order_by(Rollup.minute, Rollup.outcome)
    )
    return [MinuteTotal(minute, outcome, int(n)) for minute, outcome, n in (await session.execute(statement)).all()]
