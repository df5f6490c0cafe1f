"""Submits in a caller's transaction where things are not as usual: rights, schema, savepoints, prepared and long transactions."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from taskmill import Taskmill
from taskmill.errors import Code, InputError, SetupError
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.schema import migrations
from tests.conftest import PostgresFactory
from tests.support import door_kinds as kinds
from tests.support.engines import live, platform_of
from tests.support.roles import as_role, temporary_role
from tests.support.visitors import with_driver

pytestmark = pytest.mark.anyio
USAGE = "grant usage on schema taskmill to {role}"
CALL = "grant execute on function taskmill.submit_tasks(jsonb) to {role}"


async def test_a_role_needs_the_function_and_nothing_else(platform: Platform, tm: Taskmill, database_url: str) -> None:
    with temporary_role(database_url, USAGE, CALL) as role:
        connection = await asyncpg.connect(as_role(database_url, role))
        async with connection.transaction():
            order = await tm.submit(kinds.once.request("a"), connection=connection)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("select 1 from taskmill.tasks")
        await connection.close()
    row = await live(platform, order.id)
    assert row is not None
    assert row["created_by"] == f"sql:{role}"


@pytest.mark.parametrize("grants", [(), (USAGE,)], ids=["no schema", "no function"])
async def test_a_role_without_it_is_told_what_to_grant(
    platform: Platform, tm: Taskmill, database_url: str, grants: tuple[str, ...]
) -> None:
    with temporary_role(database_url, *grants) as role:
        connection = await asyncpg.connect(as_role(database_url, role))
        with pytest.raises(SetupError) as caught:
            await tm.submit(kinds.once.request("a"), connection=connection)
        await connection.close()
    assert caught.value.code is Code.DATABASE_RIGHTS
    assert "submit_tasks(jsonb)" in str(caught.value)
    assert isinstance(caught.value.__cause__, asyncpg.InsufficientPrivilegeError)


async def test_a_database_without_the_function_is_told_to_migrate(
    platform: Platform, tm: Taskmill, database_url: str
) -> None:
    await migrations.downgrade(database_url, "0013")
    connection = await asyncpg.connect(database_url)
    with pytest.raises(SetupError) as caught:
        await tm.submit(kinds.once.request("a"), connection=connection)
    await connection.close()
    assert caught.value.code is Code.SCHEMA_BEHIND


async def test_without_a_transaction_it_is_stored_at_once(platform: Platform, tm: Taskmill, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    order = await tm.submit(kinds.once.request("a"), connection=connection)
    assert await live(platform, order.id) is not None
    await connection.close()
    with psycopg.connect(database_url, autocommit=True) as plain:
        assert (await tm.submit(kinds.once.request("a"), connection=plain)).duplicate


async def test_a_savepoint_takes_it_back(platform: Platform, tm: Taskmill, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        inner = connection.transaction()
        await inner.start()
        gone = await tm.submit(kinds.once.request("a"), connection=connection)
        await inner.rollback()
        kept = await tm.submit(kinds.once.request("a"), connection=connection)
    await connection.close()
    assert (gone.duplicate, kept.duplicate) == (False, False)
    assert await live(platform, gone.id) is None
    assert await live(platform, kept.id) is not None


async def test_errors_of_the_transaction_are_the_drivers_own(platform: Platform, tm: Taskmill, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.execute("select 1 from nowhere")
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await tm.submit(kinds.once.request("a"), connection=connection)
    await transaction.rollback()
    await connection.close()
    engine = create_async_engine(with_driver(database_url, "asyncpg"))
    async with engine.connect() as theirs:
        await theirs.execute(text("set transaction read only"))
        with pytest.raises(DBAPIError, match="read-only"):
            await tm.submit(kinds.once.request("a"), connection=theirs)
    await engine.dispose()


async def test_an_open_transaction_delays_nobody_not_even_in_a_queue_that_is_new(
    at_work: Platform, tm: Taskmill, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    first = await tm.submit(kinds.echo.request(text="first"), connection=connection, queue="fresh")
    async with asyncio.timeout(5):
        other = await tm.submit(kinds.echo.request(text="other"), queue="fresh", tags=["late"])
        await tm.submit(kinds.once.request("b"), queue="fresh-too")
        served = await tm.submit(kinds.echo.request(text="served"))
        assert await served.result() == "served"
        assert await live(at_work, other.id) is not None
    await transaction.commit()
    await connection.close()
    assert await live(at_work, first.id) is not None


async def test_it_commits_out_of_order_and_nothing_is_skipped(at_work: Platform, tm: Taskmill, database_url: str) -> None:
    connections = [await asyncpg.connect(database_url) for _ in range(3)]
    open_ones = [connection.transaction() for connection in connections]
    orders = []
    for connection, transaction in zip(connections, open_ones, strict=True):
        await transaction.start()
        orders.append(await tm.submit(kinds.echo.request(text=str(len(orders))), connection=connection))
    for place in (2, 0, 1):
        await open_ones[place].commit()
        assert await orders[place].result(timeout=60) == str(place)
    for connection in connections:
        await connection.close()


async def test_a_prepared_transaction_is_as_good(own_postgres: PostgresFactory, broker_url: str) -> None:
    server = own_postgres(settings={"max_prepared_transactions": "5"})
    async with (
        platform_of(server.url, broker_url, *kinds.KINDS) as platform,
        Taskmill(database_url=server.url, broker_url=broker_url) as tm,
    ):
        connection = await asyncpg.connect(server.url)
        await connection.execute("begin")
        order = await tm.submit(kinds.once.request("a"), connection=connection)
        await connection.execute("prepare transaction 'p1'")
        await connection.close()
        assert await live(platform, order.id) is None
        await platform.database.pool.execute("commit prepared 'p1'")
        assert await live(platform, order.id) is not None


@pytest.mark.parametrize("what", [5, object()], ids=["number", "object"])
async def test_what_is_no_connection_stores_nothing(platform: Platform, tm: Taskmill, what: Any) -> None:
    with pytest.raises(InputError) as caught:
        await tm.submit(kinds.echo.request(), connection=what)
    assert caught.value.code is Code.USAGE
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0


async def test_a_submit_by_connection_makes_the_same_row_as_rest(
    platform: Platform, tm: Taskmill, database_url: str
) -> None:
    """The same requests by the service and by the connection of a caller make rows that differ in id and author only."""
    asked: list[dict[str, Any]] = [
        {"kind": "door.echo", "args": {"text": "é\u2028"}, "priority": 3, "tags": ["x"], "meta": {"m": [1.5]}},
        {"kind": "door.add", "args": {"a": 1, "b": 2}, "delay_s": 60, "timeout_s": 1.5, "max_attempts": 7},
        {"kind": "door.keyed", "args": {"user": 7}, "queue": "other"},
        {"kind": "door.keyed", "args": {"user": 7}, "concurrency_key": "mine"},
        {"kind": "door.echo", "args": {"text": "k"}, "unique_key": "k-{}"},
    ]
    await platform.submit.submit_many([SubmitRequest(**{**each, **_own(each, "rest")}) for each in asked])
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        for each in asked:
            options = {name: value for name, value in {**each, **_own(each, "sql")}.items() if name not in {"kind", "args"}}
            await tm.submit(each["kind"], each["args"], connection=connection, **options)
    await connection.close()
    columns = "queue, kind, kind_version, state, priority, args, meta, tags, max_attempts, timeout_ms, concurrency_key, unique_while,"
    columns += " case when slot = 2 then 3 else slot end"  # the service has the first ones let go at once, SQL does not
    found = await platform.database.pool.fetch(f"select created_by is null as rest, {columns} from taskmill.tasks")
    by_rest, by_sql = (sorted(repr(tuple(row)[1:]) for row in found if row["rest"] is rest) for rest in (True, False))
    assert len(by_rest) == len(asked)
    assert by_rest == by_sql


def _own(each: dict[str, Any], name: str) -> dict[str, str]:
    return {"unique_key": each["unique_key"].format(name)} if "unique_key" in each else {}
