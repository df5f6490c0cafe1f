"""Versioned migrations by alembic: up by phases, down, SQL; one process at a time by a polled advisory lock."""

from __future__ import annotations

import asyncio
import io
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, SetupError, TaskmillError, UnavailableError
from taskmill.log import get_logger
from taskmill.stores import constants as sc
from taskmill.stores import wire
from taskmill.stores.reach import reach
from taskmill.stores.schema.chain import CORE, Chain, Phase
from taskmill.stores.schema.standing import current, standing
from taskmill.stores.urls import sqlalchemy_url
from taskmill.stores.why import why

log = get_logger(__name__)
LOCK_TIMEOUT = "55P03"
NO_RIGHT = "42501"
TRANSIENT = ("08", "40", "53", "57")  # 连接、并发、资源、被管理员中断：与迁移的内容无关，再试即可


@dataclass(frozen=True, slots=True)
class Applied:
    """What a migration did: from where to where, and which revisions it ran. `ahead`: nothing, the database is newer."""

    before: str | None
    after: str | None
    revisions: tuple[str, ...]
    ahead: bool = False


def _engine(database_url: str, *, command_timeout_s: float | None) -> AsyncEngine:
    arguments = wire.arguments(command_timeout_s=command_timeout_s)
    return create_async_engine(
        sqlalchemy_url(database_url), poolclass=NullPool, connect_args={**arguments, "async_creator_fn": reach}
    )


@asynccontextmanager
async def _locked(database_url: str, wait_s: float) -> AsyncIterator[AsyncConnection]:
    """独占迁移：轮询咨询锁。阻塞等待会让 CREATE INDEX CONCURRENTLY 互相卡死，留下无效索引。"""
    engine = _engine(database_url, command_timeout_s=None)
    try:
        async with engine.connect() as plain:
            guard = await plain.execution_options(isolation_level="AUTOCOMMIT")
            await _acquire(guard, wait_s)
            try:
                async with engine.connect() as connection:
                    yield connection
            finally:
                await guard.execute(text("select pg_advisory_unlock(:key)"), {"key": sc.MIGRATION_LOCK_KEY})
    except OSError as error:
        raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason=why(error)) from error
    finally:
        await engine.dispose()


async def _acquire(guard: AsyncConnection, wait_s: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        result = await guard.execute(text("select pg_try_advisory_lock(:key)"), {"key": sc.MIGRATION_LOCK_KEY})
        if result.scalar_one():
            return
        if loop.time() >= deadline:
            raise SetupError(Code.MIGRATION_LOCKED, seconds=round(wait_s), reason=reasons.OTHER_MIGRATION)
        await asyncio.sleep(sc.MIGRATION_LOCK_POLL_S)


async def _plain(connection: AsyncConnection) -> Any:
    """驱动自己的连接：在它上面读，不开 SQLAlchemy 的事务；外面若有事务，各版本就不会各自提交。"""
    return (await connection.get_raw_connection()).driver_connection


def _run(connection: Connection, action: str, revision: str, config: Config) -> None:
    config.attributes["connection"] = connection
    {"upgrade": command.upgrade, "downgrade": command.downgrade}[action](config, revision)


async def _prepare(connection: AsyncConnection) -> None:
    # 「if not exists」也要在数据库上建模式的权限，哪怕模式已经由管理员建好
    exists = (await connection.execute(text("select to_regnamespace(:name)"), {"name": c.SCHEMA})).scalar_one()
    if exists is None:
        await _create_schema(connection)
    await connection.execute(text(f"set lock_timeout = '{sc.MIGRATION_STATEMENT_LOCK_TIMEOUT}'"))
    await connection.commit()


async def _create_schema(connection: AsyncConnection) -> None:
    try:
        await connection.execute(text(f"create schema if not exists {c.SCHEMA}"))
    except DBAPIError as error:
        if _sqlstate(error) != NO_RIGHT:
            raise
        reason = reasons.CREATE_SCHEMA(schema=c.SCHEMA, words=_words(error))
        raise SetupError(Code.DATABASE_RIGHTS, reason=reason) from error


async def apply(
    database_url: str,
    chain: Chain = CORE,
    *,
    phase: Phase = Phase.ALL,
    revision: str | None = None,
    allow_ahead: bool = False,
    wait_s: float = c.MIGRATION_LOCK_TIMEOUT_S,
) -> Applied:
    """Migrate a chain up: to `revision`, else to where `phase` ends. Each revision is a transaction.

    Raises SetupError MIGRATION_LOCKED after `wait_s` seconds behind another migration or after too many waits for a
    table, MIGRATION_FAILED if a revision is wrong (those before it stay), SCHEMA_AHEAD if the database is newer and not
    readable for us, DATABASE_RIGHTS if the role may not do it, UnavailableError if it cannot be reached.
    """
    async with _locked(database_url, wait_s) as connection:
        await _prepare(connection)
        at = await standing(await _plain(connection), chain)
        if at.ahead:
            if not (at.readable or allow_ahead):
                raise SetupError(Code.SCHEMA_AHEAD, found=at.current, expected=at.head)
            log.warning("数据库比程序新，不做迁移", chain=chain.name, current=at.current, head=at.head, readable=at.readable)
            return Applied(at.current, at.current, (), ahead=True)
        target = revision or chain.target(at.current, phase)
        if target is not None:
            await _upgrade(connection, chain, target)
        after = await current(await _plain(connection), chain.version_table)
    log.info("数据库迁移完成", chain=chain.name, phase=phase.value, before=at.current, after=after)
    return Applied(at.current, after, chain.between(at.current, after))


async def _upgrade(connection: AsyncConnection, chain: Chain, revision: str) -> None:
    """等锁超时的从停下处再来；别的数据库错误都是迁移自己的错。"""
    for attempt in range(1, sc.MIGRATION_LOCK_TRIES + 1):
        try:
            await connection.run_sync(partial(_run, action="upgrade", revision=revision, config=chain.config()))
            await connection.commit()
        except Exception as error:
            state = _sqlstate(error)
            if state is not None and state.startswith(TRANSIENT):
                raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason=_words(error)) from error
            if state == NO_RIGHT:
                raise SetupError(Code.DATABASE_RIGHTS, reason=_words(error)) from error
            if state != LOCK_TIMEOUT:
                raise await _failed(connection, chain, error) from error
            log.warning("迁移等不到表锁，稍后从停下处再来", chain=chain.name, attempt=attempt)
        else:
            return
        await connection.rollback()
        await asyncio.sleep(sc.MIGRATION_LOCK_PAUSE_S)
    raise SetupError(
        Code.MIGRATION_LOCKED,
        seconds=round(sc.MIGRATION_LOCK_TRIES * sc.MIGRATION_LOCK_PAUSE_S),
        reason=reasons.TABLE_IN_USE,
    )


async def _failed(connection: AsyncConnection, chain: Chain, error: Exception) -> TaskmillError:
    if isinstance(error, (OSError, TaskmillError)):
        return error if isinstance(error, TaskmillError) else UnavailableError(Code.DATABASE_UNAVAILABLE, reason=str(error))
    await connection.rollback()
    found = await current(await _plain(connection), chain.version_table)
    revision, reason = chain.following(found), _words(error)
    if chain.versions is None:
        return SetupError(Code.MIGRATION_FAILED, revision=revision, current=found or "empty", reason=reason)
    told = reasons.IN_PLUGIN_FILE(plugin=chain.name, where=_where(chain.file_of(revision), error), error=reason)
    return SetupError(Code.MIGRATION_FAILED, revision=revision, current=found or "empty", reason=told)


def _where(file: Path, error: BaseException) -> str:
    """文件，以及出错时它执行到的那一行。"""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    return f"{file}:{lines[-1]}" if lines else str(file)


def _sqlstate(error: BaseException) -> str | None:
    if isinstance(error, DBAPIError):
        # 连接已断时没有状态码
        return getattr(error.orig, "sqlstate", None) or ("08006" if error.connection_invalidated else None)
    return None


def _words(error: BaseException) -> str:
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig.__cause__ or error.orig  # 驱动的异常包了两层
    return (str(cause) or type(cause).__name__).splitlines()[0]


async def upgrade(
    database_url: str, revision: str = "head", *, chain: Chain = CORE, wait_s: float = c.MIGRATION_LOCK_TIMEOUT_S
) -> None:
    """Migrate up to `revision`; errors as in `apply`."""
    await apply(database_url, chain, revision=revision, wait_s=wait_s)


async def downgrade(
    database_url: str, revision: str, *, chain: Chain = CORE, wait_s: float = c.MIGRATION_LOCK_TIMEOUT_S
) -> None:
    """Migrate down to `revision` (`base`: nothing left); MIGRATION_LOCKED and UnavailableError as in `apply`."""
    async with _locked(database_url, wait_s) as connection:
        await _prepare(connection)
        await connection.run_sync(partial(_run, action="downgrade", revision=revision, config=chain.config()))
        await connection.commit()
    log.info("数据库已退回", chain=chain.name, revision=revision)


def sql(revision: str = "head") -> str:
    """Return the SQL that migrates an empty database up to `revision`."""
    config = CORE.config()
    buffer = io.StringIO()
    config.output_buffer = buffer
    command.upgrade(config, revision, sql=True)
    return buffer.getvalue()
