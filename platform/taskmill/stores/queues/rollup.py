"""Sums over rollups: what finished, by queue and outcome."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.rollup import Rollup


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
