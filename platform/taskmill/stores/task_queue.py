"""Rows of queues: list, pause, resume."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import TaskQueue


async def every(session: AsyncSession) -> Sequence[TaskQueue]:
    """Return all queues by name."""
    return (await session.scalars(select(TaskQueue).order_by(TaskQueue.name))).all()


async def by_name(session: AsyncSession, name: str) -> TaskQueue | None:
    """Return one queue or None."""
    return await session.get(TaskQueue, name)


async def pause(session: AsyncSession, name: str, by: str | None) -> TaskQueue | None:
    """Pause a queue; one that is paused already keeps its first time. None if it does not exist."""
    return await session.scalar(
        update(TaskQueue)
        .where(TaskQueue.name == name)
        .values(
            paused_at=func.coalesce(TaskQueue.paused_at, func.now()),
            paused_by=func.coalesce(TaskQueue.paused_by, by),
            updated_at=func.now(),
        )
        .returning(TaskQueue)
    )


async def resume(session: AsyncSession, name: str) -> TaskQueue | None:
    """Let a queue run again. None if it does not exist."""
    return await session.scalar(
        update(TaskQueue)
        .where(TaskQueue.name == name)
        .values(paused_at=None, paused_by=None, updated_at=func.now())
        .returning(TaskQueue)
    )
