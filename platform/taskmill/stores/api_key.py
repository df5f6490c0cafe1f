"""API keys: rows, found by the hash of the secret."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import ApiKey


async def add(session: AsyncSession, key: ApiKey) -> ApiKey:
    """Insert a key and return it with its creation time."""
    session.add(key)
    await session.flush()
    await session.refresh(key)
    return key


async def fetch_all(session: AsyncSession) -> Sequence[ApiKey]:
    """Return every key, the newest first."""
    return (await session.execute(select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id))).scalars().all()


async def find_usable(session: AsyncSession, hashed: bytes) -> ApiKey | None:
    """Return the key with this hash unless it was revoked or has expired by the database's clock."""
    alive = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
    statement = select(ApiKey).where(ApiKey.hash == hashed, ApiKey.revoked_at.is_(None), alive)
    return (await session.execute(statement)).scalar_one_or_none()


async def any_exists(session: AsyncSession) -> bool:
    """Say whether a key was ever made, revoked and expired ones included."""
    return bool((await session.execute(select(exists(select(ApiKey.id))))).scalar_one())


async def find(session: AsyncSession, reference: str, key_id: UUID | None) -> Sequence[UUID]:
    """Return the ids of keys with this id, or of keys in force with this name or prefix."""
    named = or_(ApiKey.name == reference, ApiKey.prefix == reference) & ApiKey.revoked_at.is_(None)
    match = named if key_id is None else ApiKey.id == key_id
    return (await session.execute(select(ApiKey.id).where(match))).scalars().all()


async def revoke(session: AsyncSession, key_id: UUID) -> ApiKey:
    """Revoke a key that exists; one that was revoked keeps its time."""
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey)
    )
    return (await session.execute(statement)).scalar_one()
