"""The outermost layer: the request's number, one line per request without exception, the HTTP metrics, and what every
answer has: security headers, a place in the budget of bodies, and an end when the process stops.

It wraps `app.asgi_handler`, because middleware of Litestar never sees unmatched routes (404, 405).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, unbind_contextvars

from taskmill import constants as c
from taskmill.api import constants as ac
from taskmill.api import redact
from taskmill.api.bodies import Bodies
from taskmill.api.envelope import REQUEST_ID_KEY, failure, new_request_id
from taskmill.api.farewell import Farewell
from taskmill.api.response_headers import retry_after, secured
from taskmill.errors import Code, TaskmillError
from taskmill.log import access, get_logger
from taskmill.serving.protocol import REFUSED

log = get_logger(__name__)
Observer = Callable[[str, str | None, int, float], None]


class AccessLog:
    """ASGI layer around the whole application. `observe(method, path_template, status, seconds)` feeds metrics."""

    def __init__(
        self, app: ASGIApp, observe: Observer | None = None, bodies: Bodies | None = None, farewell: Farewell | None = None
    ) -> None:
        self._app = app
        self._observe = observe
        self._bodies = bodies or Bodies(c.BODIES_MAX_BYTES)
        self._farewell = farewell or Farewell()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; only HTTP requests are logged."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = _Record(scope, receive, send, self._bodies)
        bind_contextvars(request_id=record.request_id)
        self._farewell.waiting.add(record)
        try:
            await self._app(scope, record.receive, record.send)
        except asyncio.CancelledError:
            if not record.dismissed:
                raise
            # 已经答过 503：取消到此为止，不留回溯
        except Exception as error:
            if not record.dismissed:
                log.exception("应用之外的错误", path=redact.path(scope["path"]), exc_info=error)
                await record.fail(TaskmillError(Code.INTERNAL))
        finally:
            self._farewell.waiting.discard(record)
            self._bodies.give(record.reserved)
            seconds = time.perf_counter() - record.started
            unbind_contextvars("request_id")
            self._finish(record, scope["method"], scope.get("path_template"), seconds)

    def _finish(self, record: _Record, method: str, path: str | None, seconds: float) -> None:
        try:
            record.write(seconds)
            if self._observe is not None:
                self._observe(method, path, record.final_status, seconds)
        except Exception as error:
            # 请求已经答完：记录失败不能再伤到它
            log.exception("访问日志没有写成", request_id=record.request_id, exc_info=error)


class _Capture:
    """一个方向的正文：只留开头，够记日志就行。"""

    __slots__ = ("content_type", "kept", "size", "textual")

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self.textual = redact.is_text(content_type)
        self.kept = b""
        self.size = 0

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        room = ac.BODY_LOG_MAX_BYTES - len(self.kept)
        if room > 0 and self.textual:
            self.kept += chunk[:room]

    def shown(self) -> str:
        if not self.textual:
            return redact.placeholder(self.content_type) if self.size else ""
        return redact.body(self.kept, truncated=self.size > len(self.kept))


class _Record:
    """一次请求的所见：包住 receive 与 send，不改动内容。"""

    def __init__(self, scope: Scope, receive: Receive, send: Send, bodies: Bodies) -> None:
        self.started = time.perf_counter()
        self._scope: Any = scope  # HTTP 与 WebSocket 的键不同
        self._receive = receive
        self._send = send
        self._bodies = bodies
        self._task = asyncio.current_task()
        headers = {name: value for name, value in scope["headers"] if name in _WANTED}
        self.request_id = new_request_id(_text(headers.get(b"x-request-id")))
        scope[REQUEST_ID_KEY] = self.request_id  # type: ignore[literal-required]
        self._user_agent = _text(headers.get(b"user-agent"))
        self._declared = _length(headers.get(b"content-length"))
        self._request = _Capture(_text(headers.get(b"content-type")) or "")
        self._response = _Capture("")
        self._status: int | None = None
        self._complete = False
        self._gone = False
        self.reserved = 0
        self.dismissed = False

    async def receive(self) -> Message:
        if self._declared > self.reserved:
            self._reserve(self._declared)
        message: Any = await self._receive()
        refused: TaskmillError | None = self._scope.get(REFUSED)
        if refused is not None:
            raise refused
        if message["type"] == "http.request":
            self._request.add(message.get("body", b""))
            if self._request.size > self.reserved:
                self._reserve(self._request.size)
        elif not self._complete:
            self._gone = True
        return message

    def _reserve(self, size: int) -> None:
        self._bodies.take(size - self.reserved)
        self.reserved = size

    async def send(self, message: Message) -> None:
        if self.dismissed:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = secured(
                self._scope["path"], message.get("headers", ()), ((b"x-request-id", self.request_id.encode()),)
            )
            message["headers"] = headers
            self._response = _Capture(next((_text(v) or "" for n, v in headers if n.lower() == b"content-type"), ""))
        elif message["type"] == "http.response.body":
            self._response.add(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        await self._send(message)

    async def fail(self, error: TaskmillError) -> None:
        """应用没能回答：替它回答一个信封。"""
        if self._status is not None:
            return
        body = msgspec.json.encode(failure(error, self.request_id))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *retry_after(error)]
        await self.send({"type": "http.response.start", "status": error.spec.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, error: TaskmillError) -> bool:
        """停止时：还没有开始回答的，替应用回答；应用此后说什么都不要了。"""
        unanswered = self._status is None
        await self.fail(error)
        self.dismissed = True
        return unanswered

    def abandon(self) -> None:
        """取消应用的处理。"""
        if self._task is not None:
            self._task.cancel()

    @property
    def final_status(self) -> int:
        """没答完而客户端已走，或处理被取消：记 499。"""
        if self._complete and self._status is not None and not self._gone:
            return self._status
        return ac.CLIENT_CLOSED_STATUS

    def write(self, seconds: float) -> None:
        scope = self._scope
        client = scope.get("client")
        user: Any = scope.get("user")
        fields = {
            "method": scope["method"],
            "path": redact.path(scope["path"]),
            "query": redact.query(scope.get("query_string", b"")),
            "status": self.final_status,
            "duration_ms": round(seconds * 1000, 3),
            "request_id": self.request_id,
            "ip": client[0] if client else None,
            "user_agent": redact.field(self._user_agent),
            "user_id": getattr(user, "name", None),
            "request_body": self._request.shown(),
            "response_body": self._response.shown(),
        }
        access("请求", fields)


_WANTED = frozenset({b"x-request-id", b"user-agent", b"content-type", b"content-length"})
_LENGTH_DIGITS = 18


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _length(value: bytes | None) -> int:
    """声明的请求体长度；不像话的当作没有，协议层与读取处自会拒绝。"""
    return int(value) if value is not None and value.isdigit() and len(value) <= _LENGTH_DIGITS else 0


def install(app: Any, observe: Observer | None, bodies: Bodies, farewell: Farewell) -> None:
    """Wrap the application from outside; call once, after it is built."""
    app.asgi_handler = AccessLog(app.asgi_handler, observe, bodies, farewell)
