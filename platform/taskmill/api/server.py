"""Uvicorn, embedded: bounds on connections, probes on a port of their own, and a farewell that answers everybody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec
import uvicorn

from taskmill import constants as c
from taskmill.api import constants as ac
from taskmill.api import probes
from taskmill.api.envelope import failure, new_request_id
from taskmill.api.farewell import Farewell
from taskmill.api.response_headers import lines, retry_after
from taskmill.errors import TaskmillError
from taskmill.log import access, get_logger
from taskmill.serving.connections import Connections
from taskmill.serving.endpoint import Server, bind
from taskmill.serving.limits import Limits
from taskmill.serving.protocol import LimitedProtocol

log = get_logger(__name__)
API_ADDRESS = "TASKMILL_API_HOST, TASKMILL_API_PORT"


class Protocol(LimitedProtocol):
    """HTTP/1.1 whose refusals are envelopes and are logged."""

    def refusal(self, error: TaskmillError) -> tuple[bytes, bytes]:
        """Return header lines and an envelope, and write the line of the access log."""
        number = new_request_id(None)
        body = msgspec.json.encode(failure(error, number))
        head = lines(
            [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", number.encode()),
                *retry_after(error),
            ]
        )
        line = dict.fromkeys(("method", "path", "user_agent", "user_id"))
        ip = self.client[0] if self.client else None
        shown = {"query": "", "request_body": "", "response_body": body.decode()}
        access("请求", {**line, **shown, "status": error.spec.status, "duration_ms": 0.0, "request_id": number, "ip": ip})
        return head, body


async def serve(
    app: Any,
    host: str,
    port: int,
    *,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
    bound: Callable[[int], None] | None = None,
    listener: socket.socket | None = None,
) -> int:
    """Serve until `stop` is set, then let requests finish for a few seconds; returns the port.

    Who still waits then is answered 503 SHUTTING_DOWN; cancelling does that at once. `bound` gets the port before `ready`
    is set, which is when requests are answered; a `listener` is bound already. SetupError CONFIG_INVALID if an address cannot be bound.
    """
    listener = listener or bind(host, port, API_ADDRESS)
    actual: int = listener.getsockname()[1]
    if bound is not None:
        bound(actual)
    limits = Limits.of(app.state.platform.settings)
    connections = Connections(limits, app.state.telemetry.refused)
    server = Server(_config(app, limits, connections))
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        await stack.enter_async_context(probes.serving(app, connections, stop))
        sweeping = asyncio.create_task(connections.watch())
        stack.callback(sweeping.cancel)
        await _until(server, listener, app.state.farewell, stop, ready)
    log.info("接口已停止", host=host, port=actual)
    return actual


def _config(app: Any, limits: Limits, connections: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(Protocol, connections),  # type: ignore[arg-type] # 只会被当作工厂调用
        loop="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=int(c.SHUTDOWN_GRACE_S + ac.SHUTDOWN_ANSWER_S),
        timeout_keep_alive=limits.keep_alive_s,
        backlog=c.LISTEN_BACKLOG,
    )


async def _until(
    server: Server, listener: Any, farewell: Farewell, stop: asyncio.Event, ready: asyncio.Event | None
) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    watching = asyncio.create_task(_watch(server, stop, ready))
    leaving: asyncio.Task[None] | None = None
    try:
        await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        farewell.begin()
        leaving = asyncio.create_task(farewell.after(c.SHUTDOWN_GRACE_S))
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        # 第二次信号：不再等，但每个请求仍得到一个回答
        await farewell.dismiss()
        serving.cancel()
        raise
    finally:
        watching.cancel()
        if leaving is not None:
            leaving.cancel()


async def _watch(server: Server, stop: asyncio.Event, ready: asyncio.Event | None) -> None:
    """Uvicorn 只给了标志可看；启动后等停止的信号。"""
    while not server.started and not stop.is_set():  # noqa: ASYNC110
        await asyncio.sleep(ac.SERVER_START_POLL_S)
    if ready is not None and server.started:
        ready.set()
    await stop.wait()
