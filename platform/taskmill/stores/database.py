"""Connections to PostgreSQL: a pool with pinned plans for hot statements, and an ORM engine for lists and CRUD."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg
from advanced_alchemy.config import AsyncSessionConfig, EngineConfig, SQLAlchemyAsyncConfig
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from taskmill import constants as c
from taskmill.errors import Code, UnavailableError
from taskmill.stores.sqlstates import SERVER_FAULTS, coded
from taskmill.stores.urls import asyncpg_url, sqlalchemy_url

T = TypeVar("T")
Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy  # pyright: ignore[reportMissingTypeArgument]
Record = asyncpg.Record
Queryable = Connection | asyncpg.Pool  # pyright: ignore[reportMissingTypeArgument] - 单条语句可直接用连接池

# 统计信息取自空表时规划器会选错计划（实测慢 30 倍），所以把计划钉死在主键与部分索引上
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
DATA_ERRORS = (asyncpg.DataError, asyncpg.UniqueViolationError, asyncpg.ProgramLimitExceededError, ValueError, OverflowError)  # 某一行存不进去
MISSING_PARTITION = asyncpg.CheckViolationError  # 没有当天分区时的错误类别，等 pruner 建好
MISSING_SCHEMA = asyncpg.UndefinedTableError  # 还没有迁移
LOCKED_OUT = asyncpg.LockNotAvailableError  # 等别人的锁等过了 lock_timeout
SERIALIZATION = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


def _encode_json(raw: bytes) -> bytes:
    return b"\x01" + raw


def _decode_json(raw: bytes) -> bytes:
    return bytes(raw[1:])


async def _prepare(connection: asyncpg.Connection) -> None:
    # jsonb 以字节进出：二进制格式的首字节是版本号 1
    await connection.set_type_codec(
        "jsonb", encoder=_encode_json, decoder=_decode_json, schema="pg_catalog", format="binary"
    )


class Database:
    """Both pools of one process. `open` before use, `close` at the end.

    `server_settings` replaces the pinned plans of the hot pool and holds for the ORM's connections too.
    """

    def __init__(
        self, url: str, *, pool_size: int = c.POOL_SIZE, orm_pool_size: int = c.ORM_POOL_SIZE,
        server_settings: Mapping[str, str] | None = None, command_timeout_s: float = 60,
    ) -> None:
        self.url = url
        self._pool_size = pool_size
        self._server_settings = dict(server_settings or HOT_SETTINGS)
        self._command_timeout_s = command_timeout_s
        orm_arguments = {} if server_settings is None else {
            "server_settings": dict(server_settings), "timeout": c.CONNECT_TIMEOUT_S, "command_timeout": command_timeout_s,
        }
        self._pool: asyncpg.Pool | None = None
        self._orm = SQLAlchemyAsyncConfig(
            connection_string=sqlalchemy_url(url),
            engine_config=EngineConfig(
                pool_size=orm_pool_size, max_overflow=0, pool_pre_ping=True, pool_timeout=10, connect_args=orm_arguments
            ),
            session_config=AsyncSessionConfig(expire_on_commit=False),
            create_all=False,
        )

    async def open(self) -> None:
        """Connect the hot pool.

        UnavailableError DATABASE_UNAVAILABLE if PostgreSQL does not answer, SetupError CONFIG_INVALID if the URL is wrong.
        """
        try:
            self._pool = await asyncpg.create_pool(
                asyncpg_url(self.url), min_size=1, max_size=self._pool_size, init=_prepare,
                server_settings=self._server_settings, timeout=c.CONNECT_TIMEOUT_S, command_timeout=self._command_timeout_s,
            )
        except (*AWAY, asyncpg.PostgresError) as error:
            known = coded(error) or UnavailableError(Code.DATABASE_UNAVAILABLE, reason=str(error) or type(error).__name__)
            raise known from error

    async def close(self) -> None:
        """Close both pools; connections still busy after a few seconds are cut."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), c.SHUTDOWN_GRACE_S)
            except TimeoutError:
                self._pool.terminate()
            self._pool = None
        await self.engine.dispose()

    @property
    def pool(self) -> asyncpg.Pool:
        """Return the hot pool: pinned plans, jsonb as bytes."""
        if self._pool is None:
            raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason="the pool is closed / 连接池未打开")
        return self._pool

    @property
    def engine(self) -> AsyncEngine:
        """Return the SQLAlchemy engine."""
        return self._orm.get_engine()

    @property
    def sessions(self) -> async_sessionmaker[AsyncSession]:
        """Return the maker of ORM sessions; use `async with sessions.begin()`."""
        return self._orm.create_session_maker()  # pyright: ignore[reportReturnType]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give a hot connection inside a transaction that commits at the end of the block."""
        async with self.pool.acquire(timeout=c.CONNECT_TIMEOUT_S) as connection, connection.transaction():
            yield connection

    async def unit(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction, again after a deadlock or serialization failure."""
        for attempt in range(c.RETRY_SERIALIZATION_TIMES):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except SERIALIZATION:
                if attempt == c.RETRY_SERIALIZATION_TIMES - 1:
                    raise
        raise AssertionError  # 循环必然返回或抛出
