"""The fixtures keep tests apart from each other."""

from __future__ import annotations

import asyncpg
import pytest
import redis

from taskmill import constants

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("run", [1, 2])
async def test_each_test_has_a_migrated_database_of_its_own(database_url: str, run: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("select count(*) from pg_tables where schemaname = $1", constants.SCHEMA) > 0
        # 若两次运行共用一个库，第二次建表会失败
        await connection.execute("create table only_mine (run int)")
        await connection.execute("insert into only_mine values ($1)", run)
    finally:
        await connection.close()


@pytest.mark.parametrize("run", [1, 2])
def test_each_test_has_an_empty_broker(broker_url: str, run: int) -> None:
    with redis.Redis.from_url(broker_url) as client:
        assert client.dbsize() == 0
        client.set("mine", run)
