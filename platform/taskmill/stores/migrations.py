"""Versioned migrations by alembic: up, down, status, SQL; one process at a time by a polled advisory lock."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from taskmill import constants as c
from taskmill.errors import Code, SetupError, UnavailableError
from taskmill.log import get_logger
from taskmill.stores.urls import sqlalchemy_url

log = get_logger(__name__)
VERSION_TABLE = "alembic_version"


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where a database stands: revisions or None; `pending` counts those to come; `ahead` says it is newer than us."""

    current: str | None
    head: str
    pending: int
    ahead: bool


def migrations_dir() -> Path:
    """Return the folder of the core's migrations: the checkout's, else the wheel's copy."""
    checkout = Path(__file__).parents[3] / "migrations"
    return checkout if (checkout / "env.py").exists() else Path(str(files("taskmill") / "_migrations"))


def _config(versions: Path | None = None, version_table: str = VERSION_TABLE) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_dir()))
    config.set_main_option("path_separator", "os")
    if versions is not None:
        config.set_main_option("version_locations", str(versions))
    config.attributes["version_table"] = version_table
    return config


@asynccontextmanager
async def _locked(database_url: str, wait_s: float) -> AsyncIterator[AsyncConnection]:
    """独占迁移：轮询咨询锁。阻塞等待会让 CREATE INDEX CONCURRENTLY 互相卡死，留下无效索引。"""
    engine = create_async_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    try:
        async with engine.connect() as plain:
            guard = await plain.execution_options(isolation_level="AUTOCOMMIT")
            await _acquire(guard, wait_s)
            try:
                async with engine.connect() as connection:
                    yield connection
            finally:
                await guard.execute(text("select pg_advisory_unlock(:key)"), {"key": c.MIGRATION_LOCK_KEY})
    except OSError as error:
        raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason=str(error)) from error
    finally:
        await engine.dispose()


async def _acquire(guard: AsyncConnection, wait_s: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        result = await guard.execute(text("select pg_try_advisory_lock(:key)"), {"key": c.MIGRATION_LOCK_KEY})
        if result.scalar_one():
            return
        if loop.time() >= deadline:
            raise SetupError(Code.MIGRATION_LOCKED, seconds=round(wait_s))
        await asyncio.sleep(c.MIGRATION_LOCK_POLL_S)


def _run(connection: Connection, action: str, revision: str, config: Config) -> None:
    config.attributes["connection"] = connection
    {"upgrade": command.upgrade, "downgrade": command.downgrade}[action](config, revision)


async def _migrate(database_url: str, action: str, revision: str, config: Config, wait_s: float) -> None:
    async with _locked(database_url, wait_s) as connection:
        await connection.execute(text(f"create schema if not exists {c.SCHEMA}"))
        await connection.execute(text(f"set lock_timeout = '{c.MIGRATION_STATEMENT_LOCK_TIMEOUT}'"))
        await connection.commit()
        await connection.run_sync(partial(_run, action=action, revision=revision, config=config))
        await connection.commit()
    log.info("数据库迁移完成", action=action, revision=revision, version_table=config.attributes["version_table"])


async def upgrade(
    database_url: str,
    revision: str = "head",
    *,
    versions: Path | None = None,
    version_table: str = VERSION_TABLE,
    wait_s: float = c.MIGRATION_LOCK_TIMEOUT_S,
) -> None:
    """Migrate up to `revision`; `versions` and `version_table` name a plugin's own chain.

    Raises SetupError MIGRATION_LOCKED after `wait_s` seconds behind another migration, UnavailableError if the
    database cannot be reached.
    """
    await _migrate(database_url, "upgrade", revision, _config(versions, version_table), wait_s)


async def downgrade(
    database_url: str,
    revision: str,
    *,
    versions: Path | None = None,
    version_table: str = VERSION_TABLE,
    wait_s: float = c.MIGRATION_LOCK_TIMEOUT_S,
) -> None:
    """Migrate down to `revision` (`base`: nothing left); errors as in `upgrade`."""
    await _migrate(database_url, "downgrade", revision, _config(versions, version_table), wait_s)


def sql(revision: str = "head") -> str:
    """Return the SQL that migrates an empty database up to `revision`."""
    config = _config()
    buffer = io.StringIO()
    config.output_buffer = buffer
    command.upgrade(config, revision, sql=True)
    return buffer.getvalue()


def head(versions: Path | None = None) -> str:
    """Return the newest revision that this program knows."""
    revision = ScriptDirectory.from_config(_config(versions)).get_current_head()
    return revision or ""


async def status(
    database_url: str, *, versions: Path | None = None, version_table: str = VERSION_TABLE
) -> MigrationStatus:
    """Read where the database stands; raises UnavailableError if it cannot be reached."""
    engine = create_async_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            current = await _current(connection, version_table)
    except OSError as error:
        raise UnavailableError(Code.DATABASE_UNAVAILABLE, reason=str(error)) from error
    finally:
        await engine.dispose()
    script = ScriptDirectory.from_config(_config(versions))
    known = [revision.revision for revision in script.walk_revisions()]
    newest = head(versions)
    if current is None:
        return MigrationStatus(None, newest, len(known), ahead=False)
    if current not in known:
        return MigrationStatus(current, newest, 0, ahead=True)
    return MigrationStatus(current, newest, known.index(current), ahead=False)


async def _current(connection: AsyncConnection, version_table: str) -> str | None:
    exists = await connection.execute(text("select to_regclass(:name)"), {"name": f"{c.SCHEMA}.{version_table}"})
    if exists.scalar_one() is None:
        return None
    row = await connection.execute(text(f"select version_num from {c.SCHEMA}.{version_table}"))
    return row.scalar_one_or_none()


async def verify(database_url: str) -> None:
    """Refuse to run on a database that is behind or ahead: SetupError SCHEMA_BEHIND or SCHEMA_AHEAD."""
    found = await status(database_url)
    if found.ahead:
        raise SetupError(Code.SCHEMA_AHEAD, found=found.current, expected=found.head)
    if found.pending:
        raise SetupError(Code.SCHEMA_BEHIND, found=found.current or "empty", expected=found.head)
