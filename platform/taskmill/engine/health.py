"""The health endpoint of a worker: `/healthz`, `/readyz`, `/metrics`, on a thread of its own.

Live means that reading and renewing were *tried* lately, not that they succeeded: while PostgreSQL or Valkey is away the
worker keeps running what it has and waits, and a restart would only interrupt that. A handler that blocks the main loop
stops the turns of reading; after WORKER_LIVE_S a restart is the only cure. Ready never depends on load: it is false until
reading has begun, after an order to drain once nothing is in flight, and after SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from taskmill import constants as c
from taskmill.errors import Code, SetupError
from taskmill.log import get_logger
from taskmill.settings import Settings
from taskmill.telemetry import WorkerTelemetry

log = get_logger(__name__)
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a worker is; times are monotonic. `turn_at`: reading last came round; `tried_at`: the last try to renew."""

    turn_at: float
    tried_at: float
    renewed_at: float | None
    ready: bool
    draining: bool
    cordoned: bool
    slots: int
    running: int
    claimed: int
    settled: int
    unsettled: int
    paused: int

    def stuck(self, now: float) -> str | None:
        """Return what has not been tried for too long, None if the worker lives."""
        for what, at in (("read", self.turn_at), ("lease", self.tried_at)):
            if now - at > c.WORKER_LIVE_S:
                return f"{what} {now - at:.0f} s"
        return None

    def metrics(self, now: float) -> dict[str, float]:
        """Return the values of the metrics by name."""
        values: dict[str, float] = {
            "slots": self.slots, "running": self.running, "unsettled": self.unsettled, "claimed_total": self.claimed,
            "settled_total": self.settled, "paused_queues": self.paused, "cordoned": self.cordoned,
            "draining": self.draining, "ready": self.ready,
        }
        if self.renewed_at is not None:
            values["lease_age_seconds"] = now - self.renewed_at
        return {f"taskmill_worker_{name}": float(value) for name, value in values.items()}


class HealthApp:
    """The ASGI application; it only looks at the vitals, so that an answer costs the worker nothing."""

    def __init__(self, vitals: Callable[[], Vitals]) -> None:
        self._vitals = vitals
        self._telemetry = WorkerTelemetry(lambda: vitals().metrics(time.monotonic()))

    async def __call__(self, scope: MutableMapping[str, Any], _: object, send: Send) -> None:
        """Answer one request."""
        status, body = self.answer(scope["path"])
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""
        if path == "/metrics":
            return 200, self._telemetry.render()
        vitals = self._vitals()
        if path == "/healthz":
            stuck = vitals.stuck(time.monotonic())
            return (200, b"ok\n") if stuck is None else (503, f"stuck: {stuck}\n".encode())
        if path == "/readyz":
            return (200, b"ready\n") if vitals.ready else (503, b"not ready\n")
        return 404, b"/healthz /readyz /metrics\n"


class _Server(uvicorn.Server):
    """信号归角色管。"""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serving(settings: Settings, vitals: Callable[[], Vitals]) -> AsyncIterator[int | None]:
    """Serve during the block if a port is set, and give the port; SetupError CONFIG_INVALID if it cannot be bound."""
    if not settings.worker_health_port:
        yield None
        return
    listener = _bind(settings.bind_host, settings.worker_health_port)
    config = uvicorn.Config(
        HealthApp(vitals), loop="none", lifespan="off", log_config=None, access_log=False, server_header=False, ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    # 自己的线程：处理函数堵住主循环时，探针照样得到回答
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), name="health", daemon=True
    )
    thread.start()
    log.info("健康端点已开", host=settings.bind_host, port=settings.worker_health_port)
    try:
        yield settings.worker_health_port
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join, c.HEALTH_STOP_S)
        listener.close()


def _bind(host: str, port: int) -> socket.socket:
    """立即监听：此后到的连接排队，等线程起来再答。"""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        reason = f"{host}:{port}: {error.strerror or error}"
        raise SetupError(
            Code.CONFIG_INVALID, field="TASKMILL_BIND_HOST, TASKMILL_WORKER_HEALTH_PORT", reason=reason
        ) from error
    listener.setblocking(False)
    return listener
