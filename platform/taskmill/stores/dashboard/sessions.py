"""Sessions of the dashboard: rows, found by the hash of the token. All times are the database's."""

from __future__ import annotations

from uuid import UUID

from taskmill.stores.database import Connection, Queryable, Record

ADD = """
insert into taskmill.dashboard_sessions (id, token_hash, key_id, user_agent, expires_at)
values ($1, $2, $3, $4, now() + make_interval(secs => $5))
"""
# 死掉的与多出来的一起删：表的大小因此有上限，不需要谁定时打扫
SWEEP = """
delete from taskmill.dashboard_sessions
where expires_at <= now() or seen_at <= now() - make_interval(secs => $1)
   or id in (select id from taskmill.dashboard_sessions where key_id is not distinct from $2
             order by created_at desc, id desc offset $3)
"""
# 密钥吊销或过期，会话随即失效；权限以密钥现在的为准
FIND = """
select s.id, s.key_id, s.expires_at, k.name, k.scopes,
       s.seen_at <= now() - make_interval(secs => $3) as stale
from taskmill.dashboard_sessions s
left join taskmill.api_keys k on k.id = s.key_id
where s.token_hash = $1 and s.expires_at > now() and s.seen_at > now() - make_interval(secs => $2)
  and (s.key_id is null or (k.id is not null and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())))
"""
TOUCH = "update taskmill.dashboard_sessions set seen_at = now() where id = $1"
REMOVE = "delete from taskmill.dashboard_sessions where token_hash = $1"


async def add(
    connection: Connection, session_id: UUID, hashed: bytes, key_id: UUID | None, user_agent: str | None, lasts_s: float
) -> None:
    """Insert a session that ends `lasts_s` seconds from now."""
    await connection.execute(ADD, session_id, hashed, key_id, user_agent, lasts_s)


async def sweep(connection: Connection, idle_s: float, key_id: UUID | None, most: int) -> None:
    """Delete sessions that are over, and those of this key beyond the newest `most`."""
    await connection.execute(SWEEP, idle_s, key_id, most)


async def find(connection: Queryable, hashed: bytes, idle_s: float, touch_s: float) -> Record | None:
    """Return id, key_id, expires_at, name and scopes of its key, and `stale`: not seen for `touch_s`; None: no such session lives."""
    return await connection.fetchrow(FIND, hashed, idle_s, touch_s)


async def touch(connection: Queryable, session_id: UUID) -> None:
    """Note that a person used the session now."""
    await connection.execute(TOUCH, session_id)


async def remove(connection: Queryable, hashed: bytes) -> None:
    """Delete a session."""
    await connection.execute(REMOVE, hashed)
