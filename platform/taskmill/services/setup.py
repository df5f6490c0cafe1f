"""Bringing a database to the schema of this program, core first, then each plugin's own chain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from taskmill import constants as c
from taskmill.stores import migrations
from taskmill.stores.database import Database
from taskmill.stores.partitions import ensure_partitions


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
