"""Migrations: up, down and up again leave the same schema, and the models say nothing else."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from taskmill.constants import SCHEMA
from taskmill.errors import Code, SetupError
from taskmill.models.base import metadata
from taskmill.stores.schema import migrations, standing
from taskmill.stores.schema.chain import CORE, VERSION_TABLE, Phase
from taskmill.stores.urls import sqlalchemy_url

pytestmark = pytest.mark.anyio
DUMP = f"""
select 'column' as what, table_name || '.' || column_name as name,
       concat_ws(' ', rank() over (partition by table_name order by ordinal_position), data_type, udt_name, is_nullable, column_default) as definition
from information_schema.columns where table_schema = '{SCHEMA}'
union all
select 'index', indexname, indexdef from pg_indexes where schemaname = '{SCHEMA}'
union all
select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = '{SCHEMA}'::regnamespace
union all
select 'relation', oid::regclass::text, concat_ws(' ', relkind, array_to_string(reloptions, ','), pg_get_partkeydef(oid))
from pg_class where relnamespace = '{SCHEMA}'::regnamespace and relkind in ('r', 'p', 'v', 'S')
union all
select 'function', oid::regprocedure::text, md5(prosrc) from pg_proc where pronamespace = '{SCHEMA}'::regnamespace
order by 1, 2
"""


async def dump(url: str) -> list[tuple[str, str, str]]:
    """Return everything that makes the schema."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(DUMP)]  # type: ignore[misc]
    finally:
        await connection.close()


def test_the_core_s_chain_is_read_as_alembic_reads_it() -> None:
    script = ScriptDirectory.from_config(CORE.config())
    assert script.get_heads() == [CORE.head()]
    found = [(each.revision, getattr(each.module, "phase", Phase.EXPAND)) for each in script.walk_revisions()]
    assert [(revision, CORE.phase_of(revision)) for revision in reversed(CORE.revisions())] == found


def test_what_contracts_comes_last() -> None:
    """A new program waits for what expands, and what contracts waits for the old ones to go: the other way round neither goes on."""
    phases = [CORE.phase_of(revision) for revision in CORE.revisions()]
    assert phases == sorted(phases, key=[Phase.EXPAND, Phase.CONTRACT].index)


async def test_up_down_up_leaves_the_same_schema(empty_database_url: str) -> None:
    await migrations.upgrade(empty_database_url)
    first = await dump(empty_database_url)
    assert len(first) > 50
    await migrations.downgrade(empty_database_url, "base")
    left = {name for what, name, _ in await dump(empty_database_url) if what == "relation"}
    assert left <= {f"{SCHEMA}.{VERSION_TABLE}"}
    await migrations.upgrade(empty_database_url)
    assert await dump(empty_database_url) == first


async def test_every_single_step_can_be_taken_back(empty_database_url: str) -> None:
    await migrations.upgrade(empty_database_url)
    whole = await dump(empty_database_url)
    await migrations.downgrade(empty_database_url, "-1")
    await migrations.upgrade(empty_database_url, "+1")
    assert await dump(empty_database_url) == whole


async def test_upgrade_twice_changes_nothing(database_url: str) -> None:
    before = await dump(database_url)
    await migrations.upgrade(database_url)
    assert await dump(database_url) == before


async def test_the_printed_sql_makes_the_same_schema(empty_database_url: str, database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(migrations.sql())
    await connection.close()
    assert await dump(empty_database_url) == await dump(database_url)


async def test_the_models_and_the_migrations_agree(database_url: str) -> None:
    tables = {table.name for table in metadata.tables.values()}

    def compare(connection: Connection) -> list[object]:
        def named(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
            if kind == "schema":
                return name == SCHEMA
            return kind != "table" or name in tables

        options = {"include_schemas": True, "include_name": named, "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    engine = create_async_engine(sqlalchemy_url(database_url))
    async with engine.connect() as connection:
        found = await connection.run_sync(compare)
    await engine.dispose()
    assert found == []


async def test_a_database_that_is_behind_or_ahead_is_refused(empty_database_url: str) -> None:
    with pytest.raises(SetupError) as caught:
        await standing.verify(empty_database_url)
    assert caught.value.code is Code.SCHEMA_BEHIND
    await migrations.upgrade(empty_database_url)
    await standing.verify(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(f"update {SCHEMA}.{VERSION_TABLE} set version_num = '9999'")
    assert (await standing.verify(empty_database_url)).ahead
    await connection.execute(f"update {SCHEMA}.schema_info set min_reader = '9998'")
    await connection.close()
    with pytest.raises(SetupError) as caught:
        await standing.verify(empty_database_url)
    assert caught.value.code is Code.SCHEMA_AHEAD


async def test_two_migrations_at_once_take_turns(empty_database_url: str) -> None:

    await asyncio.gather(*(migrations.upgrade(empty_database_url) for _ in range(3)))
    assert (await standing.status(empty_database_url)).pending == 0
