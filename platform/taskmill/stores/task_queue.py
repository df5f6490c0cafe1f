"""Queues: their rows and their pause."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import TaskQueue


async def fetch_all(session: AsyncSession) -> Sequence[TaskQueue]:
    """Return every queue by name."""
    return (await session.execute(select(TaskQueue).order_by(TaskQueue.name))).scalars().all()


async def fetch(session: AsyncSession, name: str) -> TaskQueue | None:
    """Return one queue, None if it is unknown."""
    return await session.get(TaskQueue, name)


async def pause(session: AsyncSession, name: str, by: str | None) -> bool:
    """Pause a queue; one that is paused keeps its time and author. False if it is unknown."""
    statement = (
        update(TaskQueue)
        .where(TaskQueue.name == name)
        .values(
            paused_at=func.coalesce(TaskQueue.paused_at, func.now()),
            paused_by=func.coalesce(TaskQueue.paused_by, by),
            updated_at=func.now(),
        )
        .returning(TaskQueue.name)
    )
    return (await session.execute(statement)).first() is not None


async def resume(session: AsyncSession, name: str) -> bool:
    """Resume a queue; False if it is unknown."""
    statement = (
        update(TaskQueue)
        .where(TaskQueue.name == name)
        .values(paused_at=None, paused_by=None, updated_at=func.now())
        .returning(TaskQueue.name)
    )
    return (await session.execute(statement)).first() is not None
