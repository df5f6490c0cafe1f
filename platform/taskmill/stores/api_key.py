"""API keys: rows, found by the hash of the secret."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from taskmill.stores.database import Queryable, Record

ADD = """
insert into taskmill.api_keys (id, name, prefix, hash, scopes, expires_at) values ($1, $2, $3, $4, $5, $6) returning *
"""
FETCH_ALL = "select * from taskmill.api_keys order by created_at desc, id"
FIND_USABLE = """
select * from taskmill.api_keys where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())
"""
ANY_EXISTS = "select exists (select from taskmill.api_keys)"
FIND = """
select id from taskmill.api_keys
where case when $2::uuid is null then (name = $1 or prefix = $1) and revoked_at is null else id = $2 end
"""
REVOKE = "update taskmill.api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1 returning *"


async def add(connection: Queryable, key: Sequence[object]) -> Record:
    """Insert a key (id, name, prefix, hash, scopes, end or None) and return its row."""
    return await _one(connection, ADD, *key)


async def fetch_all(connection: Queryable) -> Sequence[Record]:
    """Return every key, the newest first."""
    rows: list[Record] = await connection.fetch(FETCH_ALL)
    return rows


async def find_usable(connection: Queryable, hashed: bytes) -> Record | None:
    """Return the key with this hash unless it was revoked or has expired by the database's clock."""
    return await connection.fetchrow(FIND_USABLE, hashed)


async def any_exists(connection: Queryable) -> bool:
    """Say whether a key was ever made, revoked and expired ones included."""
    return bool(await connection.fetchval(ANY_EXISTS))


async def find(connection: Queryable, reference: str, key_id: UUID | None) -> Sequence[UUID]:
    """Return the ids of keys with this id, or of keys in force with this name or prefix."""
    return [row["id"] for row in await connection.fetch(FIND, reference, key_id)]


async def revoke(connection: Queryable, key_id: UUID) -> Record:
    """Revoke a key that exists; one that was revoked keeps its time."""
    return await _one(connection, REVOKE, key_id)


async def _one(connection: Queryable, statement: str, *given: object) -> Record:
    row = await connection.fetchrow(statement, *given)
    if row is None:  # returning 一定给出这一行
        raise AssertionError
    return row
