"""Databases that last as long as the tests that use them: made, emptied between two tests, dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from taskmill import constants as c
from taskmill.stores import wire

COMMAND_TIMEOUT_S: Final = 60.0  # 建库、删库、清空：忙的机器上也该够
# 迁移到哪一版、谁读得懂，是结构的一部分；其余都是测试留下的
TABLES = """
select string_agg(format('%I.%I', n.nspname, t.relname), ', ')
from pg_class t join pg_namespace n on n.oid = t.relnamespace
where n.nspname = $1 and t.relkind in ('r', 'p') and t.relname !~ '^alembic_version' and t.relname <> 'schema_info'
"""
QUEUES = "select name from taskmill.queues order by name"


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[wire.Wire]:
    connection = await wire.connect(url, command_timeout_s=COMMAND_TIMEOUT_S)
    try:
        yield connection
    finally:
        await connection.close()


async def create(url: str, name: str, template: str | None = None) -> None:
    """Create a database beside that of `url`, a copy of `template` if one is given; nobody may be connected to that."""
    async with _connected(url) as connection:
        await connection.execute(f'create database "{name}"' + (f' template "{template}"' if template else ""))


async def drop(url: str, name: str) -> None:
    """Drop a database beside that of `url` with all its connections, if it is there."""
    async with _connected(url) as connection:
        await connection.execute(f'drop database if exists "{name}" with (force)')


async def empty(url: str) -> list[str]:
    """Empty every table of the schema `taskmill` but those that tell its version; returns the queues that there were."""
    async with _connected(url) as connection:
        queues = [row["name"] for row in await connection.fetch(QUEUES)]
        tables: Any = await connection.fetchval(TABLES, c.SCHEMA)
        await connection.execute(f"truncate {tables}")
    return queues
