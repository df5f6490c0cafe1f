"""Which database a URL is for, and the one connection to it that is open.

A database is known by host, port and name. Objects may reach it with different users; the URL in use stays until no
object names it any more or it stops working, then another is tried.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from taskmill.errors import Code, SetupError
from taskmill.kube import phrases
from taskmill.services.fleet import FleetService

Opener = Callable[[str], Awaitable[FleetService]]


def identity_of(database_url: str) -> str:
    """Return a hash of host, port and name of a database; the user and the options do not matter.

    ValueError without any part of the URL: it ends in a condition that many may read.
    """
    try:
        parts = urlsplit(database_url)
        name, host, port = parts.path.strip("/"), parts.hostname, parts.port or 5432
    except ValueError:  # 它的文字里有密码的片段
        message = "not a URL; percent-encode special characters of the password"
        raise ValueError(message) from None
    if not parts.scheme.startswith("postgres") or not host or not name:
        message = "not a PostgreSQL URL"
        raise ValueError(message)
    return hashlib.sha256(f"{host.lower()}:{port}/{name}".encode()).hexdigest()[:16]


class DatabaseAccess:
    """The URLs by which objects reach one database, and the service that is open by one of them."""

    def __init__(self, opener: Opener = FleetService.open) -> None:
        self._opener = opener
        self._urls: dict[object, str] = {}
        self._url = ""
        self._service: FleetService | None = None
        self._gate = asyncio.Lock()

    @property
    def users(self) -> list[object]:
        """Return the keys of the objects that name it."""
        return list(self._urls)

    @property
    def may_switch(self) -> bool:
        """Say whether another try would take another URL, or has to open one anyway."""
        return self._service is None or len(set(self._urls.values())) > 1

    def use(self, user: object, url: str) -> bool:
        """Note that an object reaches it by this URL; returns whether that is news."""
        if self._urls.get(user) == url:
            return False
        self._urls[user] = url
        return True

    def release(self, user: object) -> None:
        """Note that an object no longer needs it."""
        self._urls.pop(user, None)

    async def service(self) -> FleetService:
        """Return the open service; UnavailableError DATABASE_UNAVAILABLE."""
        async with self._gate:
            known = list(dict.fromkeys(self._urls.values()))
            if self._service is not None and self._url in known:
                return self._service
            await self.close()
            if not known:
                raise SetupError(Code.CONFIG_INVALID, field="connection", reason=phrases.NO_URL)
            # 换下一个：上一个刚失败，或已没有对象用它
            self._url = known[(known.index(self._url) + 1) % len(known)] if self._url in known else known[0]
            self._service = await self._opener(self._url)
            return self._service

    async def close(self) -> None:
        """Disconnect; the next who asks opens anew."""
        service, self._service = self._service, None
        if service is not None:
            await service.close()
