"""What a role may do in the schema: the rights that api, worker and scheduler need, asked of the server and tried."""

from __future__ import annotations

from dataclasses import dataclass

from taskmill.models.base import metadata
from taskmill.stores import diagnose

NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")
TABLES = """
select t.name as what, p.name as privilege from unnest($1::text[]) as t(name), unnest($2::text[]) as p(name)
where has_table_privilege(to_regclass('taskmill.' || t.name), p.name) is false
order by 1, 2
"""
FUNCTIONS = """
select p.oid::regprocedure::text as what, 'EXECUTE' as privilege from pg_catalog.pg_proc p
where p.pronamespace = 'taskmill'::regnamespace and not has_function_privilege(p.oid, 'EXECUTE')
order by 1
"""
# 中文名字：编码装不下它的数据库什么中文都装不下。写完就撤销
TRIAL = "insert into taskmill.queues (name) values ('诊断')"


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """Who we are, the encoding of the database, and what is missing, such as `INSERT on tasks`."""

    role: str
    encoding: str
    missing: tuple[str, ...]


async def role_facts(database_url: str) -> RoleFacts:
    """Return what the role of the URL may do in a migrated schema; errors of asyncpg pass through."""
    connection = await diagnose.connect(database_url)
    try:
        role, encoding = (await connection.fetchrow("select current_user::text, current_setting('server_encoding')")) or (
            "",
            "",
        )
        if await connection.fetchval("select to_regnamespace('taskmill')") is None:
            return RoleFacts(role, encoding, ())
        if not await connection.fetchval("select has_schema_privilege('taskmill', 'USAGE')"):
            return RoleFacts(role, encoding, ("USAGE on schema taskmill",))
        rows = await connection.fetch(TABLES, sorted(table.name for table in metadata.tables.values()), NEEDED)
        rows += await connection.fetch(FUNCTIONS)
    finally:
        await connection.close()
    return RoleFacts(role, encoding, tuple(f"{row['privilege']} on {row['what']}" for row in rows))


async def try_writing(database_url: str) -> None:
    """Write a Chinese text and take it back; errors of asyncpg pass through."""
    connection = await diagnose.connect(database_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(TRIAL)
        await transaction.rollback()
    finally:
        await connection.close()
