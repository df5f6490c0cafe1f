"""/healthz, /readyz and /metrics of the operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from taskmill import constants as c
from taskmill.kube.metrics import Metrics
from taskmill.log import get_logger

log = get_logger(__name__)


class LoopLag:
    """How late the event loop is: measured by a task that wants to wake every second."""

    def __init__(self) -> None:
        self._due = time.monotonic() + 1

    @property
    def seconds(self) -> float:
        """Return how long the next wake-up is overdue."""
        return max(0.0, time.monotonic() - self._due)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = time.monotonic() + 1
            await asyncio.sleep(1)


class Health:
    """`live` and `ready` return what is wrong, empty if nothing is; `refresh` brings gauges up to date."""

    def __init__(
        self, metrics: Metrics, *, live: Callable[[], str], ready: Callable[[], str], refresh: Callable[[], None]
    ) -> None:
        self._metrics, self._live, self._ready, self._refresh = metrics, live, ready, refresh

    @asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve until the end of the block; gives the port (0 asks for a free one)."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._text)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, host, port, shutdown_timeout=c.SHUTDOWN_GRACE_S)
        await site.start()
        bound = int(runner.addresses[0][1])
        log.info("健康检查地址", host=host, port=bound)
        try:
            yield bound
        finally:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self._live())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._ready())

    async def _text(self, _: web.Request) -> web.Response:
        self._refresh()
        # 上千个队列的文本要几百毫秒：放到线程里，事件循环照常续租
        body = await asyncio.to_thread(self._metrics.render)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _answer(wrong: str) -> web.Response:
    return web.json_response({"ok": not wrong, "reason": wrong}, status=503 if wrong else 200)
