"""Roles with no more rights than operations.md gives them: one that owns the schema, one that runs the program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from taskmill.engine.periodic.pruner import Pruner, PrunerConfig
from taskmill.errors import Code, SetupError
from taskmill.ids import new_id
from taskmill.services.setup import migrate_up
from taskmill.stores.database import Database
from taskmill.stores.schema.chain import CORE
from taskmill.stores.tasks import partitions
from tests.support.databases import execute, in_thread
from tests.support.roles import PASSWORD, as_role, temporary_role

pytestmark = pytest.mark.anyio
GUIDE = Path(__file__).parents[4] / "docs" / "guides" / "operations.md"
OWNER, PROGRAM = "taskmill_owner", "taskmill_app"
NO_CREATE = "revoke create on database {database} from public"


def _pasted(url: str, owner: str, program: str) -> list[str]:
    """The statements of the guide, with the names of this test instead of the guide's."""
    block = re.search(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert block is not None
    database = url.rpartition("/")[2]
    text = block[1].replace(OWNER, owner).replace(PROGRAM, program).replace("DATABASE taskmill ", f"DATABASE {database} ")
    text = re.sub(r"'[^']*'", f"'{PASSWORD}'", text)
    return [statement for line in text.split(";") if (statement := re.sub(r"--.*", "", line).strip())]


@contextmanager
def administered(url: str) -> Iterator[tuple[str, str]]:
    """An administrator pastes the guide; yields the URLs of the owner and of the program."""
    owner, program = f"o_{uuid4().hex[:12]}", f"p_{uuid4().hex[:12]}"
    in_thread(execute(url, *_pasted(url, owner, program)))
    try:
        yield as_role(url, owner), as_role(url, program)
    finally:
        dropped = [f"drop owned by {role} cascade" for role in (program, owner)]
        in_thread(execute(url, *dropped, *(f"drop role {role}" for role in (program, owner))))


async def test_a_schema_that_a_dba_made_needs_no_right_on_the_database(empty_database_url: str) -> None:
    with administered(empty_database_url) as (owner, _):
        async with _connected(owner) as connection:
            assert not await connection.fetchval("select has_database_privilege(current_database(), 'create')")
        done = await migrate_up(owner)
        assert done.after == CORE.head()
        assert done.partitions > 10
        assert (await migrate_up(owner)).applied == 0


async def test_without_schema_and_without_the_right_the_right_is_named(empty_database_url: str) -> None:
    database = empty_database_url.rpartition("/")[2]
    with temporary_role(empty_database_url, NO_CREATE.format(database=database)) as role:
        with pytest.raises(SetupError, match=r"CREATE ON DATABASE.*create schema taskmill authorization") as caught:
            await migrate_up(as_role(empty_database_url, role))
        assert caught.value.code is Code.DATABASE_RIGHTS
        await execute(empty_database_url, "create schema taskmill", f"grant usage on schema taskmill to {role}")
        with pytest.raises(SetupError, match="permission denied for schema taskmill") as caught:
            await migrate_up(as_role(empty_database_url, role))
        assert caught.value.code is Code.DATABASE_RIGHTS


async def test_a_program_without_ddl_makes_and_drops_partitions_for_ever(empty_database_url: str) -> None:
    with administered(empty_database_url) as (owner, program):
        await migrate_up(owner)
        async with _connected(owner) as connection:
            today = await connection.fetchval(partitions.TODAY)
            for day in await partitions.list_partitions(connection):  # 两周过去，没有人再迁移
                await connection.execute(f"drop table taskmill.{partitions.partition_name(day)}")
            old = today - timedelta(days=30)
            await connection.execute(
                f"create table taskmill.{partitions.partition_name(old)} partition of taskmill.task_history"
                f" for values from ('{old}') to ('{old + timedelta(days=1)}')"
            )
        database = Database(program)
        await database.open()
        try:
            counts = await Pruner(database, PrunerConfig(days_ahead=2)).run_once()
            assert (counts["made"], counts["dropped"]) == (4, 1)
            async with database.pool.acquire() as connection:
                assert today in await partitions.list_partitions(connection)
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute("create table taskmill.x (id int)")
                with pytest.raises(asyncpg.ObjectInUseError):  # 借属主之手也删不掉还在用的
                    await partitions.drop_partition(connection, today, new_id())
                with pytest.raises(asyncpg.DataError):
                    await partitions.ensure_partitions(connection, 10_000)
        finally:
            await database.close()


async def test_nobody_runs_the_functions_without_a_grant_and_names_of_others_do_not_lead_them_astray(
    database_url: str,
) -> None:
    shadow = (
        "grant usage, create on schema public to {role}", "grant usage on schema taskmill to {role}",
        "grant execute on all functions in schema taskmill to {role}",
    )  # fmt: skip
    with temporary_role(database_url, *shadow[:2]) as role:
        async with _connected(as_role(database_url, role)) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(partitions.ENSURE, 1)
    with temporary_role(database_url, *shadow) as role:
        async with _connected(as_role(database_url, role)) as connection:
            await connection.execute(
                "create function public.to_char(date, text) returns text language sql as $$ select 'x' $$"
            )
            await connection.execute("set search_path = public, pg_catalog")
            assert await connection.fetchval(partitions.ENSURE, 1) == 3


def _connected(url: str) -> _Connected:
    return _Connected(url)


class _Connected:
    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> asyncpg.Connection:
        self._connection = await asyncpg.connect(self._url)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()
