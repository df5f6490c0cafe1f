"""Sessions of the dashboard: opened with a key or by a link, good until idle, over, or the key is."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime
from uuid import UUID

import msgspec

from taskmill.errors import AccessError, Code
from taskmill.ids import new_id
from taskmill.log import get_logger
from taskmill.services.access import Access, Client
from taskmill.services.dashboard import constants as c
from taskmill.services.keys import Principal, Scope, principal
from taskmill.settings import Settings
from taskmill.stores.dashboard import sessions as store
from taskmill.stores.database import Database

log = get_logger(
    __name__,
    {
        "已登录界面": "logged in to the dashboard",
        "已退出界面": "logged out of the dashboard",
    },
)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is good now, with what its key may do now. `csrf` must come with every change."""

    id: UUID
    principal: Principal
    csrf: str
    expires_at: datetime

    def may(self, scope: Scope) -> bool:
        """Say whether it may do this; pages leave out what it may not."""
        return self.principal.may(scope)

    def require(self, scope: Scope) -> None:
        """Raise AccessError FORBIDDEN unless it may."""
        if not self.may(scope):
            raise AccessError(Code.FORBIDDEN, permission=scope.value)

    def knows(self, token: str | None) -> bool:
        """Say whether this is its CSRF token."""
        return token is not None and hmac.compare_digest(token.encode(), self.csrf.encode())


class SessionService:
    """Sessions in the database; nothing is remembered here, so a revoked key ends its sessions at once, in every process."""

    def __init__(self, database: Database, settings: Settings, access: Access) -> None:
        self._database = database
        self._access = access
        self._idle_s = settings.dashboard_idle_s
        self._lasts_s = settings.dashboard_session_s
        self._most = settings.dashboard_sessions_max

    async def open(self, holder: Principal, user_agent: str | None) -> str:
        """Make a session and return its token, which is stored nowhere; the oldest of the key's beyond the limit end."""
        token = secrets.token_urlsafe(c.TOKEN_BYTES)
        agent = None if user_agent is None else user_agent[: c.AGENT_MAX_CHARS]
        made = new_id()
        async with self._database.transaction() as connection:
            await store.add(connection, made, _hash(token), holder.key_id, agent, self._lasts_s)
            await store.sweep(connection, self._idle_s, holder.key_id, self._most)
        log.info("已登录界面", by=holder.name, session=str(made))
        return token

    async def find(self, token: str, client: Client, *, used: bool) -> Session | None:
        """Return the session of a token, None if it is over. `used`: a person asks, not the page by itself."""
        found = await store.find(self._database.pool, _hash(token), self._idle_s, min(c.SEEN_EVERY_S, self._idle_s / 10))
        if found is None:
            return None
        if found["key_id"] is None:
            try:
                holder = await self._access.developer(client)
            except AccessError:  # 令牌随进程而去，或者已经有了密钥
                return None
        else:
            holder = principal(found["key_id"], found["name"], found["scopes"])
        if used and found["stale"]:
            await store.touch(self._database.pool, found["id"])
        return Session(id=found["id"], principal=holder, csrf=_csrf(token), expires_at=found["expires_at"])

    async def close(self, token: str) -> None:
        """End a session."""
        await store.remove(self._database.pool, _hash(token))
        log.info("已退出界面")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _csrf(token: str) -> str:
    """由会话令牌算出，不必另存；知道它的人也推不回令牌。"""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()
