"""Errors that a real PostgreSQL gives, and what a caller is told of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from taskmill.errors import Code, InputError
from taskmill.stores import constants as c
from taskmill.stores import sqlstates
from taskmill.stores.database import AWAY, Database
from taskmill.stores.faults import hopeless, translate
from taskmill.stores.tasks.lists import page as lists
from tests.support.databases import execute, with_database
from tests.support.roles import as_role, temporary_role

pytestmark = pytest.mark.anyio
RAISE = "do $$ begin raise sqlstate '{}' using message = 'made for this test'; end $$"
Statement = Callable[[asyncpg.Connection], Awaitable[Any]]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for one block."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def failure(work: Awaitable[Any]) -> BaseException:
    """Return what the work raises."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - 要的就是它抛出的任何错误
        return error
    raise AssertionError("nothing was raised")


async def role_time_limit(url: str) -> BaseException:
    """A DBA's limit for the role."""
    with temporary_role(url, "alter role {role} set statement_timeout = '50ms'") as role:
        async with connected(as_role(url, role)) as connection:
            return await failure(connection.execute("select pg_sleep(60)"))


async def lock_time_limit(url: str) -> BaseException:
    """A DBA's limit for locks, and a table in use."""
    async with connected(url) as holder, connected(url) as connection:
        await holder.execute("begin; lock table taskmill.tasks in access exclusive mode")
        await connection.execute("set lock_timeout = '50ms'")
        return await failure(connection.execute("select 1 from taskmill.tasks"))


async def cancelled(url: str) -> BaseException:
    """`pg_cancel_backend`."""
    async with connected(url) as admin, connected(url) as connection:
        working = asyncio.ensure_future(failure(connection.execute("select pg_sleep(60)")))
        while not working.done():
            await admin.execute("select pg_cancel_backend($1)", connection.get_server_pid())
            await asyncio.sleep(0)
        return await working


async def cut_off(url: str, limit: str) -> BaseException:
    """Return what the next statement gets once the limit has cut the connection."""
    async with connected(url) as connection:
        try:
            await connection.execute(limit)
            while True:
                await connection.execute("select 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            return error


async def idle_in_transaction(url: str) -> BaseException:
    """A DBA's limit for idle transactions."""
    return await cut_off(url, "set idle_in_transaction_session_timeout = '1ms'; begin")


async def idle_session(url: str) -> BaseException:
    """A DBA's limit for connections that do nothing."""
    return await cut_off(url, "set idle_session_timeout = '1ms'")


async def another_password(url: str) -> BaseException:
    """The password was changed under us."""
    with temporary_role(url) as role:
        await execute(url, f"alter role {role} password 'another'")
        return await failure(asyncpg.connect(as_role(url, role)))


async def no_right(url: str) -> BaseException:
    """A role without grants."""
    with temporary_role(url) as role:
        async with connected(as_role(url, role)) as connection:
            return await failure(connection.execute("select 1 from taskmill.tasks"))


async def may_not_log_in(url: str) -> BaseException:
    """ALTER ROLE … NOLOGIN."""
    with temporary_role(url, "alter role {role} nologin") as role:
        return await failure(asyncpg.connect(as_role(url, role)))


async def connection_limit(url: str) -> BaseException:
    """ALTER ROLE … CONNECTION LIMIT."""
    with temporary_role(url, options="connection limit 1") as role:
        async with connected(as_role(url, role)):
            return await failure(asyncpg.connect(as_role(url, role)))


async def no_such_role(url: str) -> BaseException:
    """A name that the server does not know."""
    return await failure(asyncpg.connect(as_role(url, f"nobody_{uuid4().hex}")))


async def no_such_database(url: str) -> BaseException:
    """A database that does not exist."""
    return await failure(asyncpg.connect(re.sub(r"/[^/]+$", "/no_such_database", url)))


async def dropped_database(url: str) -> BaseException:
    """A database that is dropped under a connection."""
    name = f"d_{uuid4().hex[:12]}"
    await execute(url, f"create database {name}")
    async with connected(with_database(url, name)) as connection:
        await execute(url, f"drop database {name} with (force)")
        return await failure(connection.execute("select 1"))


async def temporary_files_full(url: str) -> BaseException:
    """No more room for temporary files."""
    async with connected(url) as connection:
        await connection.execute("set temp_file_limit = 0; set work_mem = '64kB'")
        return await failure(connection.execute("select * from generate_series(1, 100000) order by 1 desc"))


async def read_only(url: str) -> BaseException:
    """A standby, or a server that an administrator made read-only."""
    async with connected(url) as connection:
        await connection.execute("set default_transaction_read_only = on")
        return await failure(connection.execute("insert into taskmill.queues (name) values ('x')"))


async def serializable_by_default(url: str) -> BaseException:
    """Two transactions that cannot both be."""
    async with connected(url) as one, connected(url) as other:
        for connection in (one, other):
            await connection.execute("begin isolation level serializable; select count(*) from taskmill.queues")
            await connection.execute(f"insert into taskmill.queues (name) values ('q{id(connection)}')")
        await one.execute("commit")
        return await failure(other.execute("commit"))


async def no_partition(url: str) -> BaseException:
    """A day of the history that has no partition."""
    async with connected(url) as connection:
        return await failure(connection.execute(
            "insert into taskmill.task_history (id, queue, kind, state, args, timeout_ms, finished_at)"
            " values (gen_random_uuid(), 'q', 'k', 'completed', '{}', 1, '1999-01-01')"
        ))  # fmt: skip


async def unknown_parameter(url: str) -> BaseException:
    """A misspelt parameter of the URL."""
    return await failure(asyncpg.connect(f"{url}?no_such_parameter=1"))


async def wrong_parameter(url: str) -> BaseException:
    """A parameter of the URL with a value that the server refuses."""
    return await failure(asyncpg.connect(f"{url}?lock_timeout=soon"))


async def unknown_mode(url: str) -> BaseException:
    """A value that the driver itself refuses."""
    return await failure(asyncpg.connect(f"{url}?sslmode=perhaps"))


async def wrong_value(url: str) -> BaseException:
    """A number too large for its column, found by the driver."""
    async with connected(url) as connection:
        return await failure(connection.fetch("select $1::int", 2**40))


async def unfit_text(url: str) -> BaseException:
    """A text that PostgreSQL cannot hold."""
    async with connected(url) as connection:
        return await failure(connection.fetch("select $1::text", "\x00"))


async def gone(_: str) -> BaseException:
    """Nobody listens."""
    return await failure(asyncpg.connect("postgresql://u:p@127.0.0.1:1/x"))


AWAY_CODE, RIGHTS, WRONG, CONFIG = (
    Code.DATABASE_UNAVAILABLE, Code.DATABASE_RIGHTS, Code.INVALID_REQUEST, Code.CONFIG_INVALID,
)  # fmt: skip
REAL = [
    (role_time_limit, AWAY_CODE, False), (lock_time_limit, AWAY_CODE, False), (cancelled, AWAY_CODE, False),
    (idle_in_transaction, AWAY_CODE, False), (idle_session, AWAY_CODE, False), (another_password, AWAY_CODE, True), (no_right, RIGHTS, True), (may_not_log_in, AWAY_CODE, True),
    (connection_limit, AWAY_CODE, False), (no_such_role, AWAY_CODE, True), (no_such_database, AWAY_CODE, True),
    (dropped_database, AWAY_CODE, False), (temporary_files_full, AWAY_CODE, False), (read_only, AWAY_CODE, False),
    (serializable_by_default, AWAY_CODE, False), (no_partition, AWAY_CODE, False), (gone, AWAY_CODE, False),
    (unknown_parameter, CONFIG, False), (wrong_parameter, CONFIG, False), (unknown_mode, CONFIG, False),
    (wrong_value, WRONG, False), (unfit_text, WRONG, False),
]  # fmt: skip


@pytest.mark.parametrize(("provoke", "code", "lost"), REAL, ids=[row[0].__name__ for row in REAL])
async def test_errors_of_a_real_server_have_an_answer(
    database_url: str, provoke: Callable[[str], Awaitable[BaseException]], code: Code, lost: bool
) -> None:
    error = await provoke(database_url)
    known = translate(error)
    assert known is not None, repr(error)
    assert known.code is code, known
    assert hopeless(error) is lost
    if code in {AWAY_CODE, RIGHTS}:
        assert known.spec.status == 503
        assert isinstance(error, AWAY) or sqlstates.state(error) == "23514", "a loop would take it for a bug"


STATES = [
    ("0A000", 503), ("22P02", 422), ("25006", 503), ("25P03", 503), ("26000", 503), ("28000", 503), ("28P01", 503),
    ("3D000", 503), ("3F000", 503), ("40001", 503), ("40P01", 503), ("42501", 503), ("42P01", 503), ("53100", 503),
    ("53200", 503), ("53300", 503), ("53400", 503), ("54000", 422), ("55000", 503), ("55006", 503), ("55P03", 503),
    ("57014", 503), ("57P01", 503), ("57P02", 503), ("57P03", 503), ("58000", 503), ("58030", 503), ("F0000", 503),
    ("XX000", 503), ("XX001", 503),
]  # fmt: skip


@pytest.mark.parametrize(("state", "status"), STATES)
async def test_every_class_of_codes_has_an_answer_and_loops_wait_for_the_servers_faults(
    database_url: str, state: str, status: int
) -> None:
    async with connected(database_url) as connection:
        error = await failure(connection.execute(RAISE.format(state)))
    known = translate(error)
    assert known is not None
    assert known.spec.status == status
    assert isinstance(error, AWAY) is (status == 503)


def test_the_classes_that_loops_wait_for_are_those_of_the_table() -> None:
    """Neither may say more than the other, for all that asyncpg knows."""
    known = {kind for kind in vars(asyncpg).values() if isinstance(kind, type) and issubclass(kind, asyncpg.PostgresError)}
    for kind in known - {asyncpg.PostgresError}:
        found = sqlstates.meaning(kind("x"))
        waits = found is not None and found.code is not Code.INVALID_REQUEST
        ours = kind is asyncpg.CheckViolationError or (
            found is not None and sqlstates.state(kind("x")) in {"42703", "42883"}
        )
        assert issubclass(kind, AWAY) is waits or ours, kind


async def test_a_mistake_in_our_own_sql_stays_a_bug(database_url: str) -> None:
    async with connected(database_url) as connection:
        assert translate(await failure(connection.execute("selec 1"))) is None


@pytest.mark.parametrize("plain", [True, False], ids=["past the ORM", "in a session"])
async def test_only_the_limit_of_the_list_itself_makes_a_filter_too_broad(
    database_url: str, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    database = Database(database_url)
    await database.open()

    async def listing(statement: str) -> None:
        if plain:
            async with lists.reading(database) as connection:
                await connection.execute(statement)
        else:
            async with database.sessions.begin() as session, lists.bounded(session):
                await session.execute(text(statement))

    try:
        error = await failure(listing(RAISE.format("57014")))  # 别人中止的，没到时限
        assert getattr(translate(error), "code", None) is Code.DATABASE_UNAVAILABLE
        monkeypatch.setattr(c, "LIST_TIMEOUT_S", 0.05)
        with pytest.raises(InputError, match="too broad"):
            await listing("select pg_sleep(60)")
        monkeypatch.setattr(c, "LIST_TIMEOUT_S", 60)
        monkeypatch.setattr(c, "LIST_LOCK_TIMEOUT", "50ms")
        async with connected(database_url) as holder:
            await holder.execute("begin; lock table taskmill.tasks in access exclusive mode")
            error = await failure(listing("select 1 from taskmill.tasks"))
        assert getattr(translate(error), "code", None) is Code.DATABASE_UNAVAILABLE
    finally:
        await database.close()
