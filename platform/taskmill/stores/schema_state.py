"""Which migration the database stands at, read cheaply for readiness probes."""

from __future__ import annotations

import asyncpg

from taskmill.stores.database import Connection

REVISION = "select version_num from taskmill.alembic_version"


async def revision(connection: Connection) -> str | None:
    """Return the revision of the core, None if the database is empty."""
    try:
        return await connection.fetchval(REVISION)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
