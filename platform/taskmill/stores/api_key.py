"""Rows of API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import ApiKey

_USABLE = (ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()))


async def add(
    session: AsyncSession, key_id: UUID, *, name: str, prefix: str, digest: bytes, scopes: Sequence[str], expires_at: datetime | None
) -> ApiKey:
    """Insert a key and return its row."""
    row = ApiKey(id=key_id, name=name, prefix=prefix, hash=digest, scopes=list(scopes), expires_at=expires_at)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


async def every(session: AsyncSession) -> Sequence[ApiKey]:
    """Return all keys, newest first."""
    return (await session.scalars(select(ApiKey).order_by(ApiKey.id.desc()))).all()


async def usable(session: AsyncSession, digest: bytes) -> ApiKey | None:
    """Return the key with this hash if it is neither revoked nor expired, by the database's clock."""
    return await session.scalar(select(ApiKey).where(ApiKey.hash == digest, *_USABLE))


async def any_usable(session: AsyncSession) -> bool:
    """Say whether any key could pass."""
    return bool(await session.scalar(select(select(ApiKey.id).where(*_USABLE).exists())))


async def find(session: AsyncSession, reference: str) -> Sequence[ApiKey]:
    """Return the keys whose id, name or prefix is `reference`."""
    try:
        by_id = [ApiKey.id == UUID(reference)]
    except ValueError:
        by_id = []
    return (await session.scalars(select(ApiKey).where(or_(ApiKey.name == reference, ApiKey.prefix == reference, *by_id)))).all()


async def revoke(session: AsyncSession, key_id: UUID) -> ApiKey | None:
    """Revoke a key for good; a revoked one keeps its time."""
    return await session.scalar(
        update(ApiKey)
        .where(ApiKey.id == key_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey)
    )
