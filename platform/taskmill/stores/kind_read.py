"""Kinds as the catalog shows them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import Kind


async def fetch_all(session: AsyncSession) -> Sequence[Kind]:
    """Return every version of every kind, by kind and version ascending."""
    return (await session.execute(select(Kind).order_by(Kind.kind, Kind.version))).scalars().all()


async def fetch_versions(session: AsyncSession, kind: str) -> Sequence[Kind]:
    """Return the versions of one kind, ascending."""
    return (await session.execute(select(Kind).where(Kind.kind == kind).order_by(Kind.version))).scalars().all()
