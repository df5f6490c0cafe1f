"""Does PostgreSQL answer, and which revision is it at?"""

from __future__ import annotations

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.stores.database import Connection
from taskmill.stores.schema.migrations import VERSION_TABLE

REVISION = f"select version_num from taskmill.{VERSION_TABLE}"


async def ping(connection: Connection) -> None:
    """Run the smallest statement; raises what asyncpg raises when the database is away."""
    await connection.execute("select 1")


async def ping_orm(session: AsyncSession) -> None:
    """The same through the ORM's pool."""
    await session.execute(text("select 1"))


async def revision(connection: Connection) -> str | None:
    """Return the revision of the core's schema, None if the database was never migrated."""
    try:
        value: str | None = await connection.fetchval(REVISION)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
    return value
