"""The ORM's engine: connections that are made anew when doubted, waits with bounds, and an end that does not hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

import asyncpg
from advanced_alchemy.config import AsyncSessionConfig, EngineConfig, SQLAlchemyAsyncConfig
from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.util import greenlet_spawn

from taskmill.errors import TaskmillError
from taskmill.stores import constants as c
from taskmill.stores.login import Login
from taskmill.stores.slow import SlowLog
from taskmill.stores.urls import sqlalchemy_url
from taskmill.stores.wire import Wire


class Orm:
    """Engine and sessions on wires. `generation` counts the doubts: a connection of an older one is not handed out again.

    There is no pre-ping: it would wait on a dead connection. A closed one is seen without asking, one that fell silent is
    found out by the first statement on it, within its time limit, and takes all others with it.
    """

    def __init__(
        self,
        url: str,
        size: int,
        arguments: Mapping[str, Any],
        on_doubt: Callable[[], None],
        login: Login,
        slow: SlowLog | None = None,
    ) -> None:
        self.generation = 0
        self._on_doubt = on_doubt
        self._slow = slow
        self._wires: WeakSet[Wire] = WeakSet()
        self._config = SQLAlchemyAsyncConfig(
            connection_string=sqlalchemy_url(url),
            engine_config=EngineConfig(
                pool_size=size,
                max_overflow=0,
                pool_timeout=c.POOL_WAIT_S,
                connect_args={**arguments, "async_creator_fn": login.connect},
            ),
            session_config=AsyncSessionConfig(expire_on_commit=False),
            create_all=False,
        )
        self.engine: AsyncEngine = self._config.get_engine()
        self.sessions: async_sessionmaker[AsyncSession] = self._config.create_session_maker()  # pyright: ignore[reportAttributeAccessIssue]
        event.listen(self.engine.sync_engine, "connect", self._made)
        event.listen(self.engine.sync_engine, "checkout", self._handed_out)
        event.listen(self.engine.sync_engine, "handle_error", self._failed)
        if slow is not None:
            _time(self.engine.sync_engine, slow)

    async def close(self) -> None:
        """Close what is idle; connections that do not say good-bye in CLOSE_TIMEOUT_S seconds are cut."""
        try:
            async with asyncio.timeout(c.CLOSE_TIMEOUT_S):
                await self.engine.dispose()
        except TimeoutError:
            await self.engine.dispose(close=False)
        for wire in list(self._wires):
            wire.terminate()

    @asynccontextmanager
    async def plain(self) -> AsyncIterator[Wire]:
        """Give a connection of the pool without the ORM on it; one on which anything but the server's word failed is cut.

        Its jsonb comes decoded, as the ORM wants it. Errors are asyncpg's, and SQLAlchemy's TimeoutError if none becomes free in time.
        """
        held = await self.engine.raw_connection()
        wire: Any = held.driver_connection
        try:
            yield wire
        except BaseException as error:
            # 取消可能停在一条语句中间；服务器答了话的，连接还好
            if not (isinstance(error, asyncpg.PostgresError | TaskmillError) and await _rolled_back(wire)):
                held.invalidate()
            raise
        finally:
            await greenlet_spawn(held.close)

    def _made(self, adapted: Any, record: Any) -> None:
        wire: Wire = adapted.driver_connection
        wire.on_doubt = self._on_doubt
        wire.on_executed = None if self._slow is None else self._slow.note  # 只听得见不是会话发的
        self._wires.add(wire)
        record.info["generation"] = self.generation

    def _handed_out(self, adapted: Any, record: Any, _: object) -> None:
        wire: Wire = adapted.driver_connection
        if wire.is_closed() or record.info["generation"] != self.generation:
            wire.terminate()  # 池自己会先好好道别，在死掉的连接上那要等
            raise DisconnectionError

    def _failed(self, context: ExceptionContext) -> None:
        """会话用的是预备语句，连接自己看不见它的错误。"""
        error = context.original_exception
        error = error.__cause__ or error
        wire: Any = context.connection and context.connection.connection.driver_connection
        if isinstance(error, TimeoutError) or (
            isinstance(error, asyncpg.ReadOnlySQLTransactionError) and isinstance(wire, Wire) and wire.seasoned
        ):
            self._on_doubt()
            context.is_disconnect = True


async def _rolled_back(wire: Wire) -> bool:
    try:
        if wire.is_in_transaction():
            await wire.execute("rollback")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return not wire.is_closed()


def _time(engine: Engine, slow: SlowLog) -> None:
    """会话用的是预备语句，连接自己也量不到它们的用时。"""

    def before(connection: Any, *_: object) -> None:
        connection.info["began"] = time.monotonic()

    def after(connection: Any, _cursor: object, statement: str, *_: object) -> None:
        slow.note(statement, time.monotonic() - connection.info["began"])

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
