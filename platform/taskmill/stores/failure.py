"""Groups of failures as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.failure import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureQuery:
    """What a list of groups is filtered by; None: anything. `before` is the keyset: groups that failed last before that."""

    kind: str | None = None
    queue: str | None = None
    since: datetime | None = None
    before: tuple[datetime, str] | None = None


async def fetch_page(session: AsyncSession, query: FailureQuery, *, limit: int) -> Sequence[Failure]:
    """Return up to `limit` groups, those that failed last first."""
    statement = select(Failure).order_by(Failure.last_at.desc(), Failure.fingerprint.desc()).limit(limit)
    if query.kind is not None:
        statement = statement.where(Failure.kind == query.kind)
    if query.queue is not None:
        statement = statement.where(Failure.queues.contains([query.queue]))
    if query.since is not None:
        statement = statement.where(Failure.last_at >= query.since)
    if query.before is not None:
        statement = statement.where(tuple_(Failure.last_at, Failure.fingerprint) < query.before)
    return (await session.execute(statement)).scalars().all()


async def fetch(session: AsyncSession, fingerprint: str) -> Failure | None:
    """Return one group, None if it is unknown."""
    return await session.get(Failure, fingerprint)
