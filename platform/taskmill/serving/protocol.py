"""HTTP/1.1 with bounds: uvicorn's httptools protocol bounds neither headers nor times nor connections.

A connection goes HEAD → BODY → ANSWER → IDLE → HEAD …; once a bound is passed or the bytes are no HTTP: CLOSING, then closed.
"""

from __future__ import annotations

import logging
from collections import deque
from enum import IntEnum
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from taskmill import reasons
from taskmill.errors import Code, InputError, LimitError, TaskmillError, UnavailableError
from taskmill.serving import constants as c
from taskmill.serving.connections import Connections

# uvicorn 对每个坏请求、每次升级都写一行警告；这些由 Connections 汇总，洪水时不能一个连接一行
_HTTP = logging.getLogger("taskmill.serving.http")
_HTTP.setLevel(logging.ERROR)
REFUSED = "taskmill.refused"  # scope 里的键：读请求体时要抛出的错误


class Phase(IntEnum):
    """Where a connection is; the order is that in which connections make room for others."""

    HEAD = 0
    IDLE = 1
    BODY = 2
    ANSWER = 3
    CLOSING = 4


class LimitedProtocol(HttpToolsProtocol):
    """One connection. Refuses by itself what passes a bound; an application that reads a body gets the error by `REFUSED`."""

    def __init__(self, guard: Connections, **given: Any) -> None:
        super().__init__(**given)
        self.logger = _HTTP
        self.guard = guard
        self.limits = guard.limits
        self.phase = Phase.HEAD
        self.since = self.loop.time()
        self.held = 0  # 没收齐的、还没答完的请求头占的字节
        self._silent = 0  # 自上一段请求体（或请求头、上一条消息）以来收到的字节
        self._piece = 0  # 正在解析的这一片有多长
        self._slack = 0  # 上一条消息在片中结束：片里其余的至多这么长，属于下一个请求头
        self._unanswered: deque[int] = deque()  # 收齐了、还没答完的请求头各有多长
        self._received = 0  # 这个请求体已收到的字节
        self._error: TaskmillError | None = None
        self._unsent: tuple[int, float] | None = None

    # ── 连接 ──────────────────────────────────────────────────────────────

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or refuse it: there are too many."""
        super().connection_made(transport)
        if self.guard.enter(self):
            return
        if self.guard.crowded:
            # 连回答的描述符都快没有了
            self.guard.note(Code.SERVER_BUSY.lower())
            transport.abort()
        else:
            self._refuse(UnavailableError(Code.SERVER_BUSY, what=reasons.CONNECTIONS, limit=self.guard.limit))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.guard.leave(self)
        super().connection_lost(exc)

    @property
    def expendable(self) -> bool:
        """Whether nobody waits for an answer here."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    # ── 解析 ──────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Parse; whatever is neither body nor a complete header may not grow.

        By the piece: the parser does not say how much of what it was given belongs to a header that goes on, so one read of
        256 KiB could bring a header four times as large as is allowed.
        """
        if self.phase not in {Phase.HEAD, Phase.CLOSING}:
            self._slack = 0
        for start in range(0, len(data), c.HTTP_PIECE_BYTES):
            if self.phase is Phase.CLOSING or self.transport.is_closing():
                return
            self._feed(data if len(data) <= c.HTTP_PIECE_BYTES else data[start : start + c.HTTP_PIECE_BYTES])

    def _feed(self, piece: bytes) -> None:
        self._piece = len(piece)
        self._silent += self._piece
        super().data_received(piece)
        if self._silent > self.limits.header_bytes and not self._closing():
            self._refuse(LimitError(Code.HEADERS_TOO_LARGE, limit=self.limits.header_bytes, unit=reasons.BYTES))
        elif not self._closing():
            self._hold()

    def _hold(self) -> None:
        """请求头从第一个字节到答完都算：收齐了再等，一样占着内存。"""
        unfinished = self._silent + self._slack if self.phase is Phase.HEAD else self._silent
        size = unfinished + sum(self._unanswered)
        if size != self.held:
            self.guard.hold(self, size)

    def _closing(self) -> bool:
        return self.phase is Phase.CLOSING

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.phase, self.since = Phase.HEAD, self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self.url += url
        if len(self.url) > self.limits.url_bytes:
            self._stop(LimitError(Code.URL_TOO_LONG, limit=self.limits.url_bytes))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; trailers after a body are dropped."""
        if self.phase is not Phase.HEAD:
            return
        super().on_header(name, value)
        if len(self.headers) > self.limits.headers:
            self._stop(LimitError(Code.HEADERS_TOO_LARGE, limit=self.limits.headers, unit=reasons.HEADERS))

    def on_headers_complete(self) -> None:
        """Start the application, or queue the request behind those that came before it."""
        limit = self.limits.header_bytes
        size = len(self.url) + sum(len(name) + len(value) + c.HTTP_HEADER_FRAME for name, value in self.headers)
        if size > limit:
            self._stop(LimitError(Code.HEADERS_TOO_LARGE, limit=limit, unit=reasons.BYTES))
        if len(self.pipeline) >= c.HTTP_PIPELINE_MAX:
            # 每答完一个就会再读一块，一块里有上万个最短的请求：不设上限，一个连接就能吃光内存
            self._stop(UnavailableError(Code.SERVER_BUSY, what=reasons.PIPELINED, limit=c.HTTP_PIPELINE_MAX))
        super().on_headers_complete()
        self._unanswered.append(size)
        self._silent = self._slack = 0
        self.phase, self.since, self._received = Phase.BODY, self.loop.time(), 0

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body on; after the answer only so much is read to throw away."""
        self._silent = 0
        self._received += len(body)
        super().on_body(body)
        if self._received > c.HTTP_DISCARD_MAX_BYTES and self.cycle.response_complete:
            self.transport.abort()

    def on_message_complete(self) -> None:
        """Note that all of the request is here."""
        self._silent, self._slack = 0, self._piece
        self.phase = Phase.ANSWER
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Let go of the header that was answered, and go on with the next request."""
        if self._unanswered:
            self._unanswered.popleft()
        if self.expendable and self.phase is not Phase.HEAD:
            # 空闲的连接还要留几秒，请求头不必
            self.url, self.headers, self.scope, self.cycle.scope = b"", [], {}, {}  # type: ignore[typeddict-item]
        if self in self.guard.open:
            self._hold()
        super().on_response_complete()

    def _stop(self, error: TaskmillError) -> None:
        """解析器只认异常：它随后叫 send_400_response。"""
        self._error = error
        raise error

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser gave up on."""
        self._refuse(self._error or InputError(Code.MALFORMED_HTTP, reason=msg))

    # ── 时限 ──────────────────────────────────────────────────────────────

    def enforce(self, now: float, elapsed: float) -> bool:
        """End the connection if something is overdue at `now`; `elapsed`: since the last time. Returns whether it did."""
        reason = self._overdue(now, elapsed)
        if reason is None:
            return False
        if reason == "slow_header" and self._silent:
            self._refuse(LimitError(Code.REQUEST_TIMEOUT, limit=self.limits.header_s))
        elif reason == "slow_body" and not self.cycle.response_started:
            self._refuse(LimitError(Code.REQUEST_TIMEOUT, limit=self.limits.body_s))
        else:
            if reason not in {"idle", "closing"}:
                self.guard.note(reason)
            self.transport.abort() if reason == "slow_reader" else self.transport.close()
        return True

    def _overdue(self, now: float, elapsed: float) -> str | None:
        if self._stalled(now):
            return "slow_reader"
        waited = now - self.since
        if self.phase is Phase.HEAD:
            return "slow_header" if waited > self.limits.header_s else None
        if self.phase is Phase.BODY:
            if self.flow.read_paused:
                # 是我们不读，怪不得客户端
                self.since += elapsed
                return None
            return "slow_body" if waited > self.limits.body_s + self._received / self.limits.body_rate else None
        if self.phase is Phase.ANSWER and self.expendable:
            self.phase, self.since = Phase.IDLE, now
            return None
        reason, limit = {Phase.IDLE: ("idle", self.limits.keep_alive_s), Phase.CLOSING: ("closing", c.HTTP_LINGER_S)}.get(
            self.phase, ("", 0.0)
        )
        return reason if reason and self.expendable and waited > limit else None

    def _stalled(self, now: float) -> bool:
        """写缓冲在时限内没有按最低速率变小：对方不读。"""
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._unsent = None
        elif self._unsent is None:
            self._unsent = (unsent, now)
        elif now - self._unsent[1] > self.limits.body_s:
            if unsent > self._unsent[0] - self.limits.body_rate * self.limits.body_s:
                return True
            self._unsent = (unsent, now)
        return False

    # ── 拒绝 ──────────────────────────────────────────────────────────────

    def _refuse(self, error: TaskmillError) -> None:
        """正在处理的请求由应用来回答，回答之后就关；没有人回答时我们自己答。"""
        self.guard.note(error.code.lower())
        error.__traceback__ = None  # 栈帧里有对方发来的那一大段
        cycle = self.cycle
        if not self.expendable:
            cycle.keep_alive = False
            if self.phase is Phase.BODY:
                cycle.scope[REFUSED] = error  # type: ignore[typeddict-unknown-key]
                cycle.message_event.set()
        else:
            head, body = self.refusal(error)
            self.transport.write(b"".join((STATUS_LINE[error.spec.status], head, b"connection: close\r\n\r\n", body)))
            # 只关写的一半：对方还在发时就全关，它会先看到重置，读不到回答
            self.transport.write_eof()
            self._forget()
        self.phase, self.since = Phase.CLOSING, self.loop.time()
        self.flow.pause_reading()

    def _forget(self) -> None:
        """没有人再看收到的东西：连接还要留一会儿，它们不必。"""
        self._unanswered.clear()
        self._silent = self._slack = 0
        self.guard.hold(self, 0)
        self.url, self.headers, self.scope, self._error = b"", [], {}, None  # type: ignore[typeddict-item]
        self.parser = None  # type: ignore[assignment]

    def refusal(self, error: TaskmillError) -> tuple[bytes, bytes]:
        """Return the header lines (but `connection`) and the body of the answer for a refused connection."""
        body = f"{error.code} {error.message()['en']}\n".encode()
        return b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body), body
