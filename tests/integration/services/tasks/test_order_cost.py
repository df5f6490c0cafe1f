"""What order costs those who did not ask for it: columns in statements that run anyway, and no statement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import pytest

from taskmill import task
from taskmill.clock import FakeClock
from taskmill.engine.periodic.releaser import Releaser
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.stores.tasks import stage
from taskmill.stores.tasks.glance import GLANCE, glance
from tests.support import orders
from tests.support.engines import platform_of, submit

pytestmark = pytest.mark.anyio
TABLES = ("sequences", "sequence_turns", "sequence_stops", "task_dependencies", "ended_parents")


@task("shop.step")
async def step(n: int = 0) -> int:
    return n


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, step, pool_size=2) as made:
        yield made


@asynccontextmanager
async def listening(platform: Platform) -> AsyncIterator[list[str]]:
    """Collect the statements of all connections."""
    heard: list[str] = []

    def hear(record: asyncpg.connection.LoggedQuery) -> None:
        heard.append(record.query)

    pool = platform.database.pool
    async with pool.acquire() as first, pool.acquire() as second:
        first.add_query_logger(hear)
        second.add_query_logger(hear)
    yield heard


@contextmanager
def quiet(heard: list[str]) -> Iterator[None]:
    """Nothing on the tables of order is asked meanwhile, and something is."""
    heard.clear()
    yield
    assert heard
    assert [query for query in heard if any(f"taskmill.{name}" in query for name in TABLES)] == []


@pytest.mark.parametrize("options", [{}, {"unique_key": "u"}, {"concurrency_key": "k"}], ids=str)
async def test_an_ordinary_task_asks_nothing_of_the_tables_of_order(platform: Platform, options: dict[str, Any]) -> None:
    async with listening(platform) as heard:
        with quiet(heard):
            first = await submit(platform, "shop.step", **options)
        with quiet(heard):
            await orders.run_as(platform.database, first, "shop.step", "discarded")
        with quiet(heard):
            second = await submit(platform, "shop.step", **options)
            await platform.tasks.cancel(second)
        with quiet(heard):
            await platform.database.unit(lambda connection: stage.expire(connection, 10, new_id(), orders.LONG_AGO))


async def test_a_round_of_the_releaser_that_finds_nothing_asks_once(platform: Platform) -> None:
    clock = FakeClock()
    releaser = Releaser(platform.database, platform.releaser, clock=clock)
    await submit(platform, "shop.step")
    assert set((await releaser.run_once()).values()) == {0}
    async with listening(platform) as heard:
        assert set((await releaser.run_once()).values()) == {0}
        assert [query for query in heard if "taskmill." in query] == [GLANCE]


@pytest.mark.parametrize("options", [{"sequence_key": "k"}, {"depends_on": True}], ids=str)
async def test_a_round_that_finds_something_does_it(platform: Platform, options: dict[str, Any]) -> None:
    task_of = {"key": options.get("sequence_key")}
    async with platform.database.pool.acquire() as connection:
        (parent,) = await orders.add(connection, orders.new_task())
        parents = [parent] if "depends_on" in options else []
        (waiting,) = await orders.add(connection, orders.new_task(parents=parents, **task_of))
        assert (await glance(connection)).pending
    await Releaser(platform.database, platform.releaser).run_once()
    assert await orders.states(platform.database, [waiting]) == ["blocked" if parents else "available"]
    assert not (await glance(platform.database.pool)).pending


async def test_a_task_with_order_does(platform: Platform) -> None:
    async with listening(platform) as heard:
        await submit(platform, "shop.step", sequence_key="k")
        assert any("taskmill.sequences" in query for query in heard)
