"""The scheduler role: all loops together, and a clean end."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from taskmill import constants as c
from taskmill import keys
from taskmill.dev import ports
from taskmill.engine import constants as ec
from taskmill.engine.periodic.looper import Looper
from taskmill.engine.periodic.scheduler import SchedulerHealth, build_loopers, run_scheduler
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
        names = [looper.loop.name for looper in build_loopers(platform)]
    assert len(set(names)) == len(names)
    assert {"stager", "cron", "rescuer", "limiter", "releaser", "pruner", "auditor"} <= set(names)


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
        loopers = build_loopers(platform)
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


LOOPS = ("schedule_sync", "key_guard", "stager", "cron", "rescuer", "limiter", "releaser", "pruner", "auditor")


async def rounds(loopers: list[Looper]) -> None:
    """Start the loops and wait until each has succeeded once."""
    for looper in loopers:
        looper.start()
    await eventually(lambda: _all_succeeded(loopers))


async def _all_succeeded(loopers: list[Looper]) -> bool:
    return all(looper.last_success is not None for looper in loopers)


@pytest.mark.parametrize("how", ["hangs", "fails", "is gone"])
async def test_a_scheduler_is_not_ready_while_one_of_its_loops_does_not_succeed(
    database_url: str, broker_url: str, how: str
) -> None:
    async with opened(database_url, broker_url) as platform:
        loopers = build_loopers(platform)
        assert tuple(looper.loop.name for looper in loopers) == LOOPS
        health = SchedulerHealth(loopers)
        assert health.answer("/readyz") == (503, f"failing: {', '.join(LOOPS)}\n".encode()), "nothing has succeeded yet"
        try:
            await rounds(loopers)
            for victim in loopers:
                assert health.answer("/readyz") == (200, b"ready\n")
                await _break(victim, how)
                _look_later(health, victim)
                del victim.loop.__dict__["run_once"]
                victim.last_success = victim.last_turn = time.monotonic()
        finally:
            await asyncio.gather(*(looper.stop(grace_s=0.1) for looper in loopers))


async def _break(victim: Looper, how: str) -> None:
    """Let its next round hang or fail, or end it; returns once that is so."""
    entered = asyncio.Event()

    async def run_once() -> dict[str, int]:
        entered.set()
        if how == "fails":
            raise RuntimeError("no luck")
        await asyncio.Event().wait()
        return {}

    await victim.stop(grace_s=10)
    victim.loop.run_once = run_once  # type: ignore[method-assign]
    if how != "is gone":
        victim.start()
        await asyncio.wait_for(entered.wait(), 10)


def _look_later(health: SchedulerHealth, victim: Looper) -> None:
    name, period_s = victim.loop.name, victim.loop.period_s
    victim.last_success = time.monotonic() - period_s - ec.LOOP_READY_S + 10
    assert health.answer("/readyz") == (200, b"ready\n")
    victim.last_success -= 20
    assert health.answer("/readyz") == (503, f"failing: {name}\n".encode())
    victim.last_turn -= period_s + ec.LOOP_LIVE_S + 1
    assert health.answer("/healthz") == (503, f"stuck: {name}\n".encode())


def test_a_scheduler_is_not_ready_without_a_plugin_that_it_was_asked_for() -> None:
    wanting: dict[str, str] = {"ledger": "is not installed"}
    health = SchedulerHealth([], wanting=lambda: wanting)
    assert health.answer("/readyz") == (503, b"failing: plugin ledger: is not installed\n")
    assert health.answer("/healthz") == (200, b"ok\n")
    wanting.clear()
    assert health.answer("/readyz") == (200, b"ready\n")
