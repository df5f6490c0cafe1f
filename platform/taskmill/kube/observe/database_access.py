"""Which database a URL is for, and the one connection to it that is open.

A database is known by its hosts, ports and name. Objects may reach it with different users; the URL in use stays until no
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
from taskmill.urls import parse_database_url

Opener = Callable[[str], Awaitable[FleetService]]


def identity_of(database_url: str) -> str:
    """Return a hash of hosts, ports and name of a database; the user, the options and the order of hosts do not matter.

    ValueError without any secret of the URL: it ends in a condition that many may read.
    """
    found = parse_database_url(database_url)
    parameters = dict(found.parameters)
    hosts = found.hosts or parameters.get("host", "")
    name = found.path.strip("/") or parameters.get("dbname", "")
    if not hosts or not name:
        message = "names no host" if not hosts else "names no database"
        raise ValueError(message)
    places = sorted(_place(host, parameters.get("port", "")) for host in hosts.split(","))
    return hashlib.sha256(f"{','.join(places)}/{name}".encode()).hexdigest()[:16]


def _place(host: str, port: str) -> str:
    if host.startswith("/"):  # 目录里的套接字
        return f"{host}:{port or 5432}"
    parts = urlsplit(f"//{host}")
    return f"{(parts.hostname or '').lower()}:{parts.port or port or 5432}"


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
