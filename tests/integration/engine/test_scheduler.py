"""The scheduler role: all loops together, and a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from taskmill import constants as c
from taskmill.engine.scheduler import build_loops, run_scheduler
from taskmill.services.platform import Platform
from taskmill.stores.database import AWAY
from tests.conftest import PostgresFactory
from tests.support.platforms import opened, registry
from tests.support.waiting import eventually, slowness

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(platform: Platform) -> AsyncIterator[asyncio.Event]:
    """Run the scheduler; it must have ended in time after the block, and after `stop` in any case."""
    stop = asyncio.Event()
    role = asyncio.create_task(run_scheduler(platform, stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(role, (c.SHUTDOWN_GRACE_S + 2) * slowness())


async def ticketed(platform: Platform) -> int:
    return await platform.database.pool.fetchval(
        "select count(*) from taskmill.tasks where created_by = 'schedule:tick' and ticket_at is not null"
    )


async def test_a_plugin_s_schedule_is_synced_fired_and_ticketed(database_url: str, broker_url: str) -> None:
    plugins = registry()
    plugins.schedule("tick", "demo.echo", every="1s")
    async with opened(database_url, broker_url, plugins=plugins) as platform, running(platform):
        await eventually(lambda: ticketed(platform), why="sync, cron and stager work together")

        async def partitions() -> int:
            made = "select count(*) from pg_inherits where inhparent = 'taskmill.task_history'::regclass"
            return int(await platform.database.pool.fetchval(made) or 0)

        await eventually(partitions, why="the pruner makes partitions")


async def test_it_survives_a_database_that_is_killed(own_postgres: PostgresFactory, broker_url: str) -> None:
    server = own_postgres()
    plugins = registry()
    plugins.schedule("tick", "demo.echo", every="1s")
    async with opened(server.url, broker_url, plugins=plugins) as platform, running(platform):
        await eventually(lambda: ticketed(platform))
        before = await ticketed(platform)
        server.kill()
        server.restart()

        async def more() -> bool:
            try:
                return await ticketed(platform) > before
            except AWAY:  # 池里还有断掉的连接
                return False

        await eventually(more, why="loops go on after a restart")


async def test_it_stops_in_time_although_the_database_hangs(own_postgres: PostgresFactory, broker_url: str) -> None:
    server = own_postgres()
    async with opened(server.url, broker_url) as platform:
        async with running(platform):
            server.pause()
        server.resume()


async def test_every_duty_has_a_name_of_its_own(database_url: str, broker_url: str) -> None:
    async with opened(database_url, broker_url) as platform:
        names = [loop.name for loop in build_loops(platform)]
    assert len(set(names)) == len(names)
    assert {"stager", "cron", "rescuer", "pruner", "auditor"} <= set(names)
