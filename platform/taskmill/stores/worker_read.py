"""Reads of worker rows, judged by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import Worker

_ALIVE = and_(Worker.dead_at.is_(None), Worker.lease_until > func.now())


async def every(session: AsyncSession, *, alive_only: bool, limit: int) -> Sequence[Any]:
    """Return (Worker, alive, seconds of lease left) newest first; dead ones only if asked for."""
    left = func.extract("epoch", Worker.lease_until - func.now())
    statement = select(Worker, _ALIVE.label("alive"), left.label("left")).order_by(Worker.started_at.desc(), Worker.id).limit(limit)
    return (await session.execute(statement.where(_ALIVE) if alive_only else statement)).all()


async def count_alive(session: AsyncSession) -> int:
    """Count workers whose lease is valid."""
    return await session.scalar(select(func.count()).select_from(Worker).where(_ALIVE)) or 0
