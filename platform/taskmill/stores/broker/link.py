"""Connections to Valkey on which no wait is endless, and which are made anew when their server stopped being the right one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis.asyncio as redis
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as BrokerConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as BrokerTimeoutError

from taskmill.stores import constants as c
from taskmill.stores.wire import KEEPALIVE

# 主从切换之后，活着的旧连接上会听到的话；认得的类别里没有这些词，而 6.2 的脚本把它包在自己的错误里，所以两样都看
DEMOTED = ("READONLY", "UNBLOCKED", "MASTERDOWN")


class Doubts:
    """Counts the reasons to distrust the connections of one pool; one made before the last reason is not used again."""

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        """Have every connection made anew before it is used again."""
        self.count += 1


class _Link(Connection if TYPE_CHECKING else object):
    """混入 redis 的连接类：取用时换掉可疑的，读到不对的回复时起疑。"""

    def __init__(self, *, doubts: Doubts, **options: Any) -> None:
        super().__init__(**options)
        self._doubts = doubts
        self._made_in, self._made_at = -1, 0.0

    async def connect(self) -> None:
        if self.is_connected and self._made_in != self._doubts.count:
            await self.disconnect(nowait=True)
        if not self.is_connected:
            self._made_in, self._made_at = self._doubts.count, time.monotonic()
        await super().connect()

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis 的签名
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            # 刚断的连接，uvloop 的传输不让写，说的是 RuntimeError：那也只是连接没了
            raise BrokerConnectionError(str(error)) from error

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except BrokerTimeoutError:
            self._doubts.add()  # 一条连接没有回音，别的多半也没有；不必每条都等满时限
            raise
        except ResponseError as error:
            fresh = time.monotonic() - self._made_at < c.LINK_FRESH_S
            demoted = isinstance(error, (ReadOnlyError, MasterDownError)) or any(word in str(error) for word in DEMOTED)
            if demoted and not fresh:
                self._doubts.add()
            raise


class _Tcp(_Link, Connection):
    pass


class _Tls(_Link, SSLConnection):
    pass


class _Unix(_Link, UnixDomainSocketConnection):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    pass


def client(url: str, doubts: Doubts | None = None) -> redis.Redis:
    """Return a client of the server at `url`, not connected; ValueError if it is not a URL of Valkey or Redis.

    It never repeats a command by itself: XADD would double, a reply of XREADGROUP would stay pending; callers decide.
    """
    scheme = urlsplit(url).scheme
    options: dict[str, Any] = {} if scheme == "unix" else {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
    pool = ConnectionPool.from_url(
        url,
        doubts=doubts or Doubts(),
        socket_timeout=c.BROKER_TIMEOUT_S,
        socket_connect_timeout=c.BROKER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    pool.connection_class = {"unix": _Unix, "rediss": _Tls}.get(scheme, _Tcp)
    return redis.Redis.from_pool(pool)
