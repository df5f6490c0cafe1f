"""A small HTTP endpoint on a thread of its own, for probes and metrics of roles that otherwise speak no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from taskmill import constants as c
from taskmill.errors import Code, SetupError
from taskmill.log import get_logger

log = get_logger(__name__)
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Endpoint(ABC):
    """An ASGI application whose answers cost next to nothing."""

    async def __call__(self, scope: MutableMapping[str, Any], _: object, send: Send) -> None:
        """Answer one request."""
        status, body = self.answer(scope["path"])
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @abstractmethod
    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body for a path."""


class _Server(uvicorn.Server):
    """信号归角色管。"""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def listening(app: Endpoint, host: str, port: int, variable: str) -> AsyncIterator[int | None]:
    """Serve during the block unless `port` is 0, and give the port; SetupError CONFIG_INVALID if it cannot be bound.

    `variable` names the setting of the port in that error.
    """
    if not port:
        yield None
        return
    listener = _bind(host, port, variable)
    config = uvicorn.Config(
        app, loop="none", lifespan="off", log_config=None, access_log=False, server_header=False, ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    # 自己的线程：主循环被堵住时，探针照样得到回答
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), name="health", daemon=True
    )
    thread.start()
    log.info("健康端点已开", host=host, port=port)
    try:
        yield port
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join, c.HEALTH_STOP_S)
        listener.close()


def _bind(host: str, port: int, variable: str) -> socket.socket:
    """立即监听：此后到的连接排队，等线程起来再答。"""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        reason = f"{host}:{port}: {error.strerror or error}"
        raise SetupError(Code.CONFIG_INVALID, field=f"TASKMILL_BIND_HOST, {variable}", reason=reason) from error
    listener.setblocking(False)
    return listener
