"""The small real servers that the demo's tasks talk to: HTTP and SMTP on loopback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiosmtpd.smtp import SMTP

from taskmill.dev import ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RETRY_AFTER_S = 1
SLOW_S = 1.0


@dataclass
class DemoServers:
    """Where the servers listen, and what they received."""

    http_url: str = ""
    smtp_port: int = 0
    mails: list[str] = field(default_factory=list)
    refusals: int = 1  # /flaky 先拒绝几次

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd 规定的名字
        """Take a mail."""
        self.mails.append(envelope.content.decode("utf-8", errors="replace"))
        return "250 OK"

    async def hello(self, request: web.Request) -> web.Response:
        """Answer with what was asked."""
        return web.json_response({"hello": "taskmill", "method": request.method})

    async def slow(self, _request: web.Request) -> web.Response:
        """Take a second, so that one can see another wait."""
        await asyncio.sleep(SLOW_S)
        return web.json_response({"hello": "at last"})

    async def flaky(self, _request: web.Request) -> web.Response:
        """Refuse at first, so that the demo shows a retry."""
        if self.refusals > 0:
            self.refusals -= 1
            return web.Response(status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
        return web.json_response({"hello": "again"})


@asynccontextmanager
async def demo_servers(loop: asyncio.AbstractEventLoop) -> AsyncIterator[DemoServers]:
    """Run both servers on free ports of 127.0.0.1."""
    servers = DemoServers()
    app = web.Application()
    app.router.add_route("*", "/hello", servers.hello)
    app.router.add_get("/flaky", servers.flaky)
    app.router.add_get("/slow", servers.slow)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, ports.HOST, ports.choose(None))
    await site.start()
    smtp = await loop.create_server(lambda: SMTP(servers, enable_SMTPUTF8=True, loop=loop), ports.HOST, ports.choose(None))
    servers.http_url = site.name
    servers.smtp_port = smtp.sockets[0].getsockname()[1]
    try:
        yield servers
    finally:
        smtp.close()
        await runner.cleanup()
