"""Parameters of a database URL reach PostgreSQL through both pools and through the migrations."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

import pytest
from sqlalchemy import text

from taskmill.stores.database import Database
from taskmill.stores.reach import reach
from taskmill.stores.schema import standing
from taskmill.stores.schema.chain import CORE
from tests.conftest import PostgresFactory
from tests.support.databases import execute, in_thread
from tests.support.proxy import Proxy
from tests.support.roles import as_role, temporary_role

pytestmark = pytest.mark.anyio


async def test_parameters_of_the_url_hold_for_every_connection(database_url: str) -> None:
    url = f"{database_url}?lock_timeout=1234&sslmode=prefer"
    database = Database(url)
    await database.open()
    try:
        assert await database.pool.fetchval("show lock_timeout") == "1234ms"
        async with database.sessions.begin() as session:
            assert await session.scalar(text("show lock_timeout")) == "1234ms"
    finally:
        await database.close()
    assert (await standing.status(url)).current == CORE.head()


async def test_several_hosts_are_tried_until_one_answers_and_takes_writes(
    own_postgres: PostgresFactory, database_url: str
) -> None:
    """A standby that is away, then a read-only server, then the one to write to."""
    parts = urlsplit(database_url)
    standby = own_postgres(settings={"default_transaction_read_only": "on"}, migrated=False)
    ours = (f"create database {parts.path[1:]}", f"alter role {parts.username} password '{parts.password}'")
    in_thread(execute(standby.url, "set default_transaction_read_only = off", *ours))
    account, _, place = parts.netloc.rpartition("@")
    hosts = f"{account}@127.0.0.1:1,127.0.0.1:{standby.port},{place}"
    url = urlunsplit(parts._replace(netloc=hosts, query="target_session_attrs=read-write&channel_binding=prefer"))
    database = Database(url)
    await database.open()
    try:
        assert await database.pool.fetchval("select inet_server_port()") == parts.port
        async with database.sessions.begin() as session:
            assert await session.scalar(text("select inet_server_port()")) == parts.port
    finally:
        await database.close()
    assert (await standing.verify(url)).current == CORE.head()


@pytest.mark.parametrize("spelled", ["as hosts", "as parameters"])
@pytest.mark.parametrize("target", ["read-write", "any"])
async def test_a_host_that_is_silent_does_not_keep_from_the_next(database_url: str, target: str, spelled: str) -> None:
    """A node that vanished refuses nothing and answers nothing; it may stand first in the URL."""
    parts = urlsplit(database_url)
    async with Proxy(database_url) as silent:
        silent.hole = True
        account, _, place = parts.netloc.rpartition("@")
        ports, query = (urlsplit(silent.url).port, parts.port), f"target_session_attrs={target}"
        if spelled == "as hosts":
            url = urlunsplit(parts._replace(netloc=f"{account}@127.0.0.1:{ports[0]},{place}", query=query))
        else:
            more = f"&host=127.0.0.1,localhost&port={ports[0]},{ports[1]}"
            url = urlunsplit(parts._replace(netloc=f"{account}@", query=query + more))
        database = Database(url)
        await database.open()
        try:
            assert await database.pool.fetchval("select 1") == 1
            async with database.sessions.begin() as session:
                assert await session.scalar(text("select 1")) == 1
        finally:
            await database.close()
        assert (await standing.verify(url)).current == CORE.head()


async def test_who_has_less_patience_than_a_silent_host_gets_on_at_the_next_try(database_url: str) -> None:
    parts = urlsplit(database_url)
    async with Proxy(database_url) as silent:
        silent.hole = True
        account, _, place = parts.netloc.rpartition("@")
        netloc = f"{account}@127.0.0.1:{urlsplit(silent.url).port},{place}"
        url = urlunsplit(parts._replace(netloc=netloc, query="target_session_attrs=read-write"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reach(url)
        connection = await reach(url)
        await connection.close()


async def test_a_role_that_is_serializable_by_default_claims_as_others_do(database_url: str) -> None:
    with temporary_role(database_url, "alter role {role} set default_transaction_isolation = 'serializable'") as role:
        database = Database(as_role(database_url, role))
        await database.open()
        try:
            assert await database.pool.fetchval("show transaction_isolation") == "read committed"
        finally:
            await database.close()
