"""Uvicorn, embedded: no signal handlers of its own, a bounded farewell, and errors of HTTP itself in our shape."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from taskmill import constants as c
from taskmill.api.envelope import failure, new_request_id
from taskmill.errors import Code, InputError, SetupError
from taskmill.log import access, get_logger

log = get_logger(__name__)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 whose refusals of unreadable requests are envelopes and are logged."""

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP, and close."""
        number = new_request_id(None)
        error = InputError(Code.MALFORMED_HTTP, reason=msg)
        body = msgspec.json.encode(failure(error, number))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {number}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        line = dict.fromkeys(("method", "path", "user_agent", "user_id"))
        ip = self.client[0] if self.client else None
        shown = {"query": "", "request_body": "", "response_body": body.decode()}
        access("请求", {**line, **shown, "status": error.spec.status, "duration_ms": 0.0, "request_id": number, "ip": ip})


class _Server(uvicorn.Server):
    """信号由角色处理，这里不碰。"""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """Bind the address and return the socket; port 0 takes a free one. SetupError CONFIG_INVALID if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = f"{host}:{port}: {error.strerror or error}"
        raise SetupError(Code.CONFIG_INVALID, field="TASKMILL_API_HOST, TASKMILL_API_PORT", reason=reason) from error
    listener.setblocking(False)
    return listener


async def serve(
    app: Any,
    host: str,
    port: int,
    *,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
    bound: Callable[[int], None] | None = None,
) -> int:
    """Serve until `stop` is set, then let requests finish for a few seconds; returns the port.

    `bound` gets the port before `ready` is set, which is when requests are answered. SetupError CONFIG_INVALID if the
    address cannot be bound.
    """
    listener = bind(host, port)
    actual: int = listener.getsockname()[1]
    if bound is not None:
        bound(actual)
    config = uvicorn.Config(
        app, http=Protocol, loop="none", lifespan="on", log_config=None, access_log=False, server_header=False,
        date_header=False, proxy_headers=False, ws="none", timeout_graceful_shutdown=int(c.SHUTDOWN_GRACE_S),
        backlog=c.LISTEN_BACKLOG,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    watching = asyncio.create_task(_watch(server, stop, ready))
    try:
        await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        watching.cancel()
        listener.close()
    log.info("接口已停止", host=host, port=actual)
    return actual


async def _watch(server: uvicorn.Server, stop: asyncio.Event, ready: asyncio.Event | None) -> None:
    """Uvicorn 只给了标志可看；启动后等停止的信号。"""
    while not server.started and not stop.is_set():  # noqa: ASYNC110
        await asyncio.sleep(c.SERVER_START_POLL_S)
    if ready is not None and server.started:
        ready.set()
    await stop.wait()
