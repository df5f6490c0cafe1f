"""Connections to PostgreSQL: a pool with pinned plans for hot statements, and an ORM engine for lists and CRUD."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, UnavailableError
from taskmill.stores import constants as sc
from taskmill.stores import wire
from taskmill.stores.login import Login
from taskmill.stores.slow import SlowLog
from taskmill.stores.sqlstates import SERVER_FAULTS, coded
from taskmill.stores.urls import asyncpg_url
from taskmill.stores.why import why
from taskmill.stores.wire import Wire

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

    from taskmill.stores.orm import Orm

T = TypeVar("T")
Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy  # pyright: ignore[reportMissingTypeArgument]
Record = asyncpg.Record
Queryable = Connection | asyncpg.Pool  # pyright: ignore[reportMissingTypeArgument] - 单条语句可直接用连接池

# 统计信息取自空表时规划器会选错计划（实测慢 30 倍），所以把计划钉死在主键与部分索引上
# 计划一直用到统计变了为止，表还空着时定的也一样：所以语句里按编号找行写 `= any (array[u.id])`，子查询带 `offset 0`，只剩一种计划（ADR 35）
HOT_SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
    "default_transaction_isolation": "read committed",  # 热语句为它而写；角色的默认若是 serializable，认领会互相作废
    "application_name": "taskmill",
}
# 服务器的故障：不在、重启、断线、拒绝登录、资源不足、被中止……等它好了再来
AWAY = (OSError, asyncio.TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, *SERVER_FAULTS)
DATA_ERRORS = (
    asyncpg.DataError,
    asyncpg.UniqueViolationError,
    asyncpg.ProgramLimitExceededError,
    ValueError,
    OverflowError,
)  # 某一行存不进去
MISSING_SCHEMA = asyncpg.UndefinedTableError  # 还没有迁移
UNIQUE_VIOLATION = asyncpg.UniqueViolationError
LOCKED_OUT = asyncpg.LockNotAvailableError  # 等别人的锁等过了 lock_timeout
SERIALIZATION = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


def _decode_json(raw: bytes) -> bytes:
    return bytes(raw[1:])


async def raw_json(connection: Wire) -> None:
    """Let jsonb go in and out as bytes, as the statements of the hot path want it."""
    # 二进制格式的首字节是版本号 1。每个值都要过一遍：不为它进一个 Python 函数
    encoder = b"\x01".__add__
    await connection.set_type_codec("jsonb", encoder=encoder, decoder=_decode_json, schema="pg_catalog", format="binary")


class _Pool(asyncpg.Pool):  # pyright: ignore[reportMissingTypeArgument]
    """等空闲连接也有时限，`pool.fetch` 之类的捷径也一样。"""

    def acquire(self, *, timeout: float | None = sc.POOL_WAIT_S) -> Any:
        return super().acquire(timeout=timeout)

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg 的签名
        # 撤销走的是另一条连接，送到了不等于这一条还会答；断掉的连接已经不在代理里，没有这个标记
        cancelled = getattr(connection, "cancelled", False)
        await super().release(connection, timeout=sc.CANCEL_TIMEOUT_S if cancelled else timeout)


class Database:
    """Both pools of one process. `open` before use, `close` at the end.

    A connection that fell silent, or whose server became read-only, makes both pools connect anew before anything else is
    sent. `server_settings` replaces the pinned plans of the hot pool and holds for the ORM's connections too. `slow` hears
    how long each statement took.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = c.POOL_SIZE,
        orm_pool_size: int = c.ORM_POOL_SIZE,
        server_settings: Mapping[str, str] | None = None,
        command_timeout_s: float = c.COMMAND_TIMEOUT_S,
        slow: SlowLog | None = None,
    ) -> None:
        self.url = url
        self._slow = slow
        self.login = Login()
        self._pool_size = pool_size
        self._hot = wire.arguments(command_timeout_s=command_timeout_s, server_settings=server_settings or HOT_SETTINGS)
        self._pool: asyncpg.Pool | None = None
        self._renewing: set[asyncio.Task[None]] = set()
        self._plain = wire.arguments(command_timeout_s=command_timeout_s, server_settings=server_settings)
        self._orm_pool_size = orm_pool_size
        self._orm: Orm | None = None

    async def open(self) -> None:
        """Connect the hot pool.

        UnavailableError DATABASE_UNAVAILABLE if PostgreSQL does not answer, SetupError CONFIG_INVALID if the URL is wrong.
        """
        try:
            self._pool = await _Pool(
                asyncpg_url(self.url),
                min_size=1,
                max_size=self._pool_size,
                init=self._prepare,
                loop=None,
                connect=self.login.connect,
                max_queries=sc.POOL_MAX_QUERIES,
                max_inactive_connection_lifetime=sc.POOL_IDLE_S,
                record_class=asyncpg.Record,
                **self._hot,
            )
        except (*AWAY, asyncpg.PostgresError) as error:
            raise coded(error) or UnavailableError(Code.DATABASE_UNAVAILABLE, reason=why(error)) from error

    async def close(self) -> None:
        """Close both pools; connections that do not say good-bye in CLOSE_TIMEOUT_S seconds are cut."""
        pool, self._pool = self._pool, None
        orm, self._orm = self._orm, None
        await asyncio.gather(self._close_hot(pool), *([orm.close()] if orm is not None else []))

    def renew(self) -> None:
        """Have every connection of both pools made anew before it is used again; the ones in use are left alone."""
        if self._orm is not None:
            self._orm.generation += 1
        if self._pool is not None:
            task = asyncio.ensure_future(self._pool.expire_connections())
            self._renewing.add(task)
            task.add_done_callback(self._renewing.discard)

    async def _prepare(self, connection: Wire) -> None:
        connection.on_doubt = self.renew
        connection.on_executed = self._slow.note if self._slow is not None else None
        await raw_json(connection)

    @staticmethod
    async def _close_hot(pool: asyncpg.Pool | None) -> None:
        if pool is None:
            return
        try:
            async with asyncio.timeout(sc.CLOSE_TIMEOUT_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    @property
    def pool(self) -> asyncpg.Pool:
        """Return the hot pool: pinned plans, jsonb as bytes."""
        if self._pool is None:
            raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason=reasons.POOL_CLOSED)
        return self._pool

    @property
    def engine(self) -> AsyncEngine:
        """Return the SQLAlchemy engine."""
        return self._opened_orm().engine

    @property
    def sessions(self) -> async_sessionmaker[AsyncSession]:
        """Return the maker of ORM sessions; use `async with sessions.begin()`."""
        return self._opened_orm().sessions

    def plain(self) -> AbstractAsyncContextManager[Connection]:
        """Give a connection of the ORM's pool for statements of asyncpg: planned as the server likes, apart from the hot path's."""
        return self._opened_orm().plain()

    def _opened_orm(self) -> Orm:
        if self._orm is None:
            from taskmill.stores.orm import Orm  # noqa: PLC0415 - 多半秒的导入；命令与工作进程大多用不到它

            self._orm = Orm(self.url, self._orm_pool_size, self._plain, self.renew, self.login, self._slow)
        return self._orm

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give a hot connection inside a transaction that commits at the end of the block."""
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection

    async def unit(self, work: Callable[[Connection], Awaitable[T]], *, single: bool = False) -> T:
        """Run `work` in a transaction, again after a deadlock or serialization failure.

        `single`: it asks one statement, which is a transaction by itself; without BEGIN and COMMIT that is one round trip instead of three.
        """
        entered = self.pool.acquire if single else self.transaction
        for attempt in range(c.RETRY_SERIALIZATION_TIMES):
            try:
                async with entered() as connection:
                    return await work(connection)
            except SERIALIZATION:
                if attempt == c.RETRY_SERIALIZATION_TIMES - 1:
                    raise
        raise AssertionError  # 循环必然返回或抛出


async def ping(connection: Connection) -> None:
    """Ask the smallest question; raises what asyncpg raises when the database is away or takes no writes."""
    if await connection.fetchval("select current_setting('transaction_read_only')::bool"):
        raise asyncpg.ReadOnlySQLTransactionError("it takes no writes")  # 请求会得到的，也正是这个


async def ping_orm(session: AsyncSession) -> None:
    """The same through the ORM's pool."""
    from sqlalchemy import text  # noqa: PLC0415 - 见 _opened_orm

    await session.execute(text("select 1"))
