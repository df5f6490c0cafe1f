"""Databases that last as long as the tests that use them: made, emptied between two tests, dropped."""

from __future__ import annotations

from taskmill import constants as c
from taskmill.stores.database import Queryable

# 迁移到哪一版、谁读得懂，是结构的一部分；其余都是测试留下的
TABLES = """
select string_agg(format('%I.%I', n.nspname, t.relname), ', ')
from pg_class t join pg_namespace n on n.oid = t.relnamespace
where n.nspname = $1 and t.relkind in ('r', 'p') and t.relname !~ '^alembic_version' and t.relname <> 'schema_info'
"""
QUEUES = "select name from taskmill.queues order by name"


async def create(connection: Queryable, name: str, template: str | None = None) -> None:
    """Create a database, a copy of `template` if one is given; nobody may be connected to that."""
    await connection.execute(f'create database "{name}"' + (f' template "{template}"' if template else ""))


async def drop(connection: Queryable, name: str) -> None:
    """Drop a database with all its connections, if it is there."""
    await connection.execute(f'drop database if exists "{name}" with (force)')


async def empty(connection: Queryable) -> list[str]:
    """Empty every table of the schema `taskmill` but those that tell its version; returns the queues that there were."""
    queues = [row["name"] for row in await connection.fetch(QUEUES)]
    tables: str = await connection.fetchval(TABLES, c.SCHEMA)
    await connection.execute(f"truncate {tables}")
    return queues
