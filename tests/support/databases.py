"""Databases of single tests: cloned from a template that was migrated once per session."""

from __future__ import annotations

import asyncpg

from taskmill.testing.databases import in_thread, temporary_database, with_database

__all__ = ["execute", "in_thread", "migrate", "temporary_database", "with_database"]


async def execute(url: str, *statements: str) -> None:
    """Run statements one by one, each in a transaction of its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def migrate(url: str) -> None:
    """Bring an empty database to the newest schema, without partitions: what needs some makes them."""
    from taskmill.stores.schema import migrations

    await migrations.upgrade(url)
