"""A small HTTP endpoint on a thread of its own, for probes and metrics: it answers while the main loop is busy or full."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvicorn

from taskmill import constants as c
from taskmill.errors import Code, SetupError
from taskmill.log import get_logger
from taskmill.serving import constants as hc
from taskmill.serving.connections import Connections
from taskmill.serving.limits import Limits
from taskmill.serving.protocol import LimitedProtocol

log = get_logger(__name__)
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Endpoint(ABC):
    """An ASGI application whose answers cost next to nothing."""

    async def __call__(self, scope: MutableMapping[str, Any], _: object, send: Send) -> None:
        """Answer one request."""
        status, body = await self.respond(scope["path"])
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def respond(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path; for answers that have to ask somebody, it may wait."""
        return self.answer(path)

    @abstractmethod
    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""


class Server(uvicorn.Server):
    """Uvicorn without signal handlers: signals belong to the role."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield


@asynccontextmanager
async def listening(app: Endpoint, host: str, port: int, variable: str) -> AsyncIterator[int | None]:
    """Serve during the block unless `port` is 0, and give the port; SetupError CONFIG_INVALID if it cannot be bound.

    `variable` names the setting of the port in that error.
    """
    if not port:
        yield None
        return
    listener = bind(host, port, f"TASKMILL_BIND_HOST, {variable}")
    connections = Connections(Limits(connections=hc.HTTP_PROBE_CONNECTIONS))
    config = uvicorn.Config(
        app,
        http=partial(LimitedProtocol, connections),  # type: ignore[arg-type] # 只会被当作工厂调用
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    # 自己的线程：主循环被堵住时，探针照样得到回答
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server, listener, connections)), name="health", daemon=True)
    thread.start()
    log.info("健康端点已开", host=host, port=port)
    try:
        yield port
    finally:
        server.should_exit = True
        until = time.monotonic() + hc.HEALTH_STOP_S
        while thread.is_alive() and time.monotonic() < until:  # noqa: ASYNC110 - 等的是线程；默认线程池可能被处理函数占满
            await asyncio.sleep(hc.HEALTH_STOP_POLL_S)
        listener.close()


async def _serve(server: Server, listener: socket.socket, connections: Connections) -> None:
    watching = asyncio.create_task(connections.watch())
    try:
        await server.serve(sockets=[listener])
    finally:
        watching.cancel()


def bind(host: str, port: int, field: str) -> socket.socket:
    """Listen at the address and return the socket; port 0 takes a free one. SetupError CONFIG_INVALID names `field`.

    Connections that come before somebody serves wait in the backlog.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(c.LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise SetupError(Code.CONFIG_INVALID, field=field, reason=f"{host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener
