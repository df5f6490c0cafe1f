"""The scheduler role: all loops together, and a clean end."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from taskmill import constants as c
from taskmill import keys
from taskmill.dev import ports
from taskmill.engine import constants as ec
from taskmill.engine.periodic.looper import Looper
from taskmill.engine.periodic.scheduler import SchedulerHealth, build_loops, run_scheduler
from taskmill.errors import SetupError
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
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


async def test_repairs_of_the_auditor_are_a_metric(database_url: str, broker_url: str) -> None:
    port = ports.choose(None)
    async with (
        opened(database_url, broker_url, scheduler_health_port=port, bind_host=ports.HOST) as platform,
        running(platform),
    ):
        base = f"http://{ports.HOST}:{port}"
        async with httpx2.AsyncClient(base_url=base, trust_env=False) as http:
            await platform.submit.submit(SubmitRequest(kind="demo.echo"))

            async def repaired() -> bool:
                # 行说有票，流里却没有：丢了
                await platform.tickets.redis.xtrim(keys.tickets("default", 2), maxlen=0, approximate=False)
                await platform.database.pool.execute("update taskmill.tasks set ticket_at = now() - interval '1 minute'")
                told = (await http.get("/metrics")).text
                found = re.search(r'taskmill_loop_work_total\{loop="auditor",what="lost"\} (\d+)', told)
                return found is not None and int(found[1]) > 0

            await eventually(repaired, poll=0.2)
            told = (await http.get("/metrics")).text
            assert 'taskmill_loop_failures{loop="stager"} 0.0' in told
            assert 'taskmill_loop_success_age_seconds{loop="pruner"}' in told
            healthy = await http.get("/healthz")
            assert (healthy.status_code, healthy.text) == (200, "ok\n")
            assert (await http.get("/nothing")).status_code == 404


async def test_a_loop_that_does_not_come_round_is_unhealthy(database_url: str, broker_url: str) -> None:
    async with opened(database_url, broker_url) as platform:
        loopers = [Looper(loop) for loop in build_loops(platform)]
    health = SchedulerHealth(loopers)
    assert health.answer("/healthz")[0] == 200
    loopers[1].last_turn -= loopers[1].loop.period_s + ec.LOOP_LIVE_S + 1
    assert health.answer("/healthz") == (503, f"stuck: {loopers[1].loop.name}\n".encode())


async def test_a_taken_health_port_is_named(database_url: str, broker_url: str) -> None:
    with socket.create_server((ports.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        async with opened(database_url, broker_url, scheduler_health_port=port, bind_host=ports.HOST) as platform:
            with pytest.raises(SetupError, match="TASKMILL_SCHEDULER_HEALTH_PORT"):
                await run_scheduler(platform, asyncio.Event())
