"""Probes of the API on a port and a thread of their own: whoever fills up the API does not get it restarted.

`/healthz` fails when the main loop has not come round for API_LIVE_S, or PostgreSQL has refused the login for LOGIN_REFUSED_S (the
password was rotated, and the environment still has the old one): only a restart helps then. `/readyz` asks the main loop,
which looks at its dependencies as the public route does, and fails once the process is stopping.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from taskmill.api import constants as c
from taskmill.constants import LOGIN_REFUSED_S
from taskmill.services.health import HealthService
from taskmill.serving.connections import Connections
from taskmill.serving.copies import Copies
from taskmill.serving.endpoint import Endpoint, listening

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - 绑在所有地址上的，从本机去问


class ProbeApp(Endpoint):
    """The ASGI application; it runs on another thread than the services it asks."""

    def __init__(self, health: HealthService, connections: Connections, stop: asyncio.Event) -> None:
        self._health = health
        self._connections = connections
        self._stop = stop
        self._loop = asyncio.get_running_loop()

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for `/healthz`; 404 for what is not there."""
        if path == "/healthz":
            late, refused = time.monotonic() - self._connections.beat, self._health.refused_s
            if refused > LOGIN_REFUSED_S:
                return 503, f"login refused: {refused:.0f} s\n".encode()
            return (200, b"ok\n") if late < c.API_LIVE_S else (503, f"stuck: {late:.0f} s\n".encode())
        return 404, b"/healthz /readyz\n"

    async def respond(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""
        if path != "/readyz":
            return self.answer(path)
        if self._stop.is_set():
            return 503, b"stopping\n"
        asked = asyncio.run_coroutine_threadsafe(self._health.readiness(), self._loop)
        try:
            async with asyncio.timeout(c.API_READY_S):
                _, wrong = await asyncio.wrap_future(asked)
        except TimeoutError:
            return 503, b"busy\n"
        return (200, b"ready\n") if wrong is None else (503, f"{wrong.code}\n".encode())


class CopiesApp(Endpoint):
    """The probes of several processes that share a port; it runs on another thread than the parent's loop.

    Live: every copy has beaten within API_LIVE_S, and none has been refused by PostgreSQL for long. Ready: the public route of
    a copy, whichever accepts, says so.
    """

    def __init__(self, copies: Copies, address: tuple[str, int], stop: asyncio.Event) -> None:
        self._copies, self._address, self._stop = copies, address, stop

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for `/healthz`; 404 for what is not there."""
        if path != "/healthz":
            return 404, b"/healthz /readyz\n"
        for copy in list(self._copies.copies.values()):
            if copy.refused:
                return 503, f"copy {copy.number}: login refused\n".encode()
            if copy.beat_at is not None and copy.silent_s > c.API_LIVE_S:
                return 503, f"copy {copy.number} stuck: {copy.silent_s:.0f} s\n".encode()
        return 200, b"ok\n"

    async def respond(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""
        if path != "/readyz":
            return self.answer(path)
        if self._stop.is_set():
            return 503, b"stopping\n"
        try:
            async with asyncio.timeout(c.API_READY_S):
                status = await self._ask()
        except (TimeoutError, OSError) as error:
            return 503, f"{'busy' if isinstance(error, TimeoutError) else error}\n".encode()
        return (200, b"ready\n") if status == HTTPStatus.OK else (503, f"{status}\n".encode())

    async def _ask(self) -> int:
        host, port = self._address
        reader, writer = await asyncio.open_connection(LOOPBACK.get(host, host), port)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            await writer.drain()
            words = (await reader.readline()).split()
            return int(words[1]) if len(words) > 1 else 0
        finally:
            writer.close()


@asynccontextmanager
async def serving(app: Any, connections: Connections, stop: asyncio.Event) -> AsyncIterator[int | None]:
    """Serve during the block if a port is set, and give the port; SetupError CONFIG_INVALID if it cannot be bound."""
    platform = app.state.platform
    settings = platform.settings
    probes = ProbeApp(platform.health, connections, stop)
    async with listening(probes, settings.bind_host, settings.api_health_port, "TASKMILL_API_HEALTH_PORT") as port:
        yield port
