"""Bringing a database to the schema of this program, core first, then each plugin's own chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from taskmill import constants as c
from taskmill.errors import Code, NotFoundError
from taskmill.services.keys import KeyService
from taskmill.stores import migrations
from taskmill.stores.database import Database
from taskmill.stores.migrations import MigrationStatus
from taskmill.stores.partitions import ensure_partitions

CORE = "taskmill"  # 核心自己的迁移链


def version_table(plugin: str) -> str:
    """Return the name of the table that keeps a plugin's revision."""
    return f"{migrations.VERSION_TABLE}_{plugin}"


async def migrate_up(
    database_url: str,
    revision: str = "head",
    *,
    plugins: Mapping[str, Path] | None = None,
    wait_s: float = c.MIGRATION_LOCK_TIMEOUT_S,
) -> int:
    """Migrate the core to `revision`, plugins to their heads, and make the partitions of the coming days.

    Returns how many partitions were made. Raises SetupError MIGRATION_LOCKED, UnavailableError DATABASE_UNAVAILABLE.
    """
    await migrations.upgrade(database_url, revision, wait_s=wait_s)
    for name, versions in sorted((plugins or {}).items()):
        await migrations.upgrade(database_url, versions=versions, version_table=version_table(name), wait_s=wait_s)
    database = Database(database_url, pool_size=2, orm_pool_size=1)
    await database.open()
    try:
        async with database.pool.acquire() as connection:
            return await ensure_partitions(connection, c.PARTITION_DAYS_AHEAD)
    finally:
        await database.close()


async def migrate_down(
    database_url: str, revision: str, *, plugin: str | None = None, plugins: Mapping[str, Path] | None = None
) -> None:
    """Migrate the core, or the chain of one plugin, down to `revision` (`base`: nothing left).

    Raises NotFoundError PLUGIN_NOT_FOUND if the plugin has no migrations; otherwise as `migrate_up`.
    """
    if plugin is None:
        await migrations.downgrade(database_url, revision)
        return
    versions = (plugins or {}).get(plugin)
    if versions is None:
        raise NotFoundError(Code.PLUGIN_NOT_FOUND, plugin=plugin)
    await migrations.downgrade(database_url, revision, versions=versions, version_table=version_table(plugin))


async def migration_status(
    database_url: str, *, plugins: Mapping[str, Path] | None = None
) -> dict[str, MigrationStatus]:
    """Return where the core (`taskmill`) and each plugin's chain stand; UnavailableError DATABASE_UNAVAILABLE."""
    found = {CORE: await migrations.status(database_url)}
    for name, versions in sorted((plugins or {}).items()):
        found[name] = await migrations.status(database_url, versions=versions, version_table=version_table(name))
    return found


async def verify(database_url: str) -> None:
    """Refuse to run on a schema that does not fit: SetupError SCHEMA_BEHIND or SCHEMA_AHEAD."""
    await migrations.verify(database_url)


def schema_sql(revision: str = "head") -> str:
    """Return the SQL that builds the core's schema from nothing up to `revision`."""
    return migrations.sql(revision)


@asynccontextmanager
async def keys_of(database_url: str) -> AsyncIterator[KeyService]:
    """Give the keys of a database whose schema fits, without the rest of a platform; errors as in `verify`."""
    await verify(database_url)
    database = Database(database_url, pool_size=2, orm_pool_size=1)
    await database.open()
    try:
        yield KeyService(database)
    finally:
        await database.close()
