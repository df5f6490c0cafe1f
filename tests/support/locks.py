"""Locks that somebody else holds: an operator's open transaction, a backup, a migration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg


@asynccontextmanager
async def locked(url: str, ids: Sequence[UUID]) -> AsyncIterator[asyncio.Event]:
    """Hold the rows in a transaction of somebody else until the event is set or the block ends."""
    release = asyncio.Event()
    connection = await asyncpg.connect(url)
    await connection.execute("begin")
    await connection.execute("select 1 from taskmill.tasks where id = any($1) for update", ids)

    async def hold() -> None:
        await release.wait()
        await connection.execute("rollback")

    holding = asyncio.create_task(hold())
    try:
        yield release
    finally:
        release.set()
        await holding
        await connection.close()


@asynccontextmanager
async def locked_table(url: str) -> AsyncIterator[None]:
    """Keep everybody from writing the table of live tasks."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("lock table taskmill.tasks in share row exclusive mode")
            yield
    finally:
        await connection.close()
