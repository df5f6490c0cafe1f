"""Connections to PostgreSQL on which no wait is endless; every connection of the product is made with these arguments."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import asyncpg

from taskmill import constants as c
from taskmill.stores import constants as sc
from taskmill.stores.reach import reach
from taskmill.stores.urls import asyncpg_url

KEEPALIVE = {
    option: value
    for name, value in (
        ("TCP_KEEPIDLE", sc.TCP_KEEPALIVE_IDLE_S), ("TCP_KEEPINTVL", sc.TCP_KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", sc.TCP_KEEPALIVE_COUNT), ("TCP_USER_TIMEOUT", sc.TCP_USER_TIMEOUT_MS),
    )
    if (option := getattr(socket, name, None)) is not None  # macOS 没有其中几个
}  # fmt: skip


def keep_alive(sock: socket.socket | None) -> None:
    """Let the kernel notice a peer that is gone, within seconds instead of hours; nothing for a Unix socket."""
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Wire(asyncpg.Connection):
    """A connection that is cut when its server does not answer a cancellation, and that says when it became useless.

    `on_doubt` is called (in the event loop) when a statement timed out, when the server fell silent, or when it became
    read-only while other connections may lead to one that is not: whoever pools connections then makes them anew.
    `on_executed` hears of each statement but those of prepared ones.
    """

    def __init__(self, protocol: Any, transport: asyncio.Transport, *args: Any, **kwargs: Any) -> None:
        super().__init__(protocol, transport, *args, **kwargs)
        self.on_doubt: Callable[[], None] | None = None
        self.on_executed: Callable[[str, float], None] | None = None  # 语句与用时
        self.cancelled = False  # 撤销过语句而还没有重置：对方可能收了撤销却再也不答
        self._made = time.monotonic()
        keep_alive(transport.get_extra_info("socket"))
        self.add_query_logger(self._judge)

    def get_reset_query(self) -> str:
        """Return nothing: no statement of the product leaves anything on a session behind its transaction.

        The driver's own was a second round trip for each statement of a pool. After a cancellation it is asked all the same,
        as a connection may have taken that and never answer again.
        """
        return super().get_reset_query() if self.cancelled else ""

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg 的签名
        """Reset as the pool asks for; a server that does not even answer this is gone."""
        try:
            await super().reset(timeout=timeout)
        except (OSError, asyncpg.InterfaceError):
            self._doubt()
            raise
        self.cancelled = False

    async def _cancel(self, waiter: Any, cancel_waiter: Any = None) -> None:
        """驱动等撤销的应答等一个 command_timeout；死掉的连接永远不会应答，等满就切断。"""
        self.cancelled = True
        limit = asyncio.timeout(sc.CANCEL_TIMEOUT_S)
        with suppress(TimeoutError):
            async with limit:
                await super()._cancel(waiter, cancel_waiter)
        if limit.expired() and not self.is_closed():
            self.terminate()
            self._doubt()

    def _judge(self, query: Any) -> None:
        error = query.exception
        if self.on_executed is not None:
            self.on_executed(query.query, query.elapsed)
        if isinstance(error, TimeoutError) or (isinstance(error, asyncpg.ReadOnlySQLTransactionError) and self.seasoned):
            self._doubt()

    @property
    def seasoned(self) -> bool:
        """Say whether a new connection could do better: this one is not new itself."""
        return time.monotonic() - self._made >= sc.LINK_FRESH_S

    def _doubt(self) -> None:
        if self.on_doubt is not None:
            self.on_doubt()


def arguments(*, command_timeout_s: float | None, server_settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the keyword arguments of `asyncpg.connect` and its like; `command_timeout_s` None: DDL takes its time."""
    # 失联之后留在服务器上的事务由服务器收掉，它的行锁才不会挡住重连之后的我们；迁移在两条语句之间可以想久一点
    bound = {} if command_timeout_s is None else {"idle_in_transaction_session_timeout": str(sc.IDLE_TRANSACTION_MS)}
    return {
        "connection_class": Wire,
        "timeout": c.CONNECT_TIMEOUT_S,
        "command_timeout": command_timeout_s,
        "server_settings": {**bound, **(server_settings or {})},
    }


async def connect(database_url: str, *, command_timeout_s: float) -> Wire:
    """Open one connection outside of any pool; errors of asyncpg pass through."""
    made: Any = await reach(asyncpg_url(database_url), **arguments(command_timeout_s=command_timeout_s))
    return made
