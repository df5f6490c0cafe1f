"""What a scheduler asks that has nothing to do, and that it still finds what comes."""

from __future__ import annotations

from typing import Any

import pytest

from taskmill.clock import FakeClock
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.engine import constants as ec
from taskmill.engine.periodic.limiter import Limiter
from taskmill.engine.periodic.looper import Loop
from taskmill.engine.periodic.rescuer import Rescuer, RescuerConfig
from taskmill.engine.periodic.scheduler import build_loopers
from taskmill.engine.periodic.stager import Stager
from taskmill.services.platform import Platform
from taskmill.stores.slow import SlowLog
from taskmill.stores.tasks.glance import GLANCE
from tests.support import rows
from tests.support.engines import platform_of

pytestmark = pytest.mark.anyio
HELD = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, concurrency_key, slot)
select gen_random_uuid(), 'default', 'shop.pack', 'available', '{}', 1000, 'key', case when n = 1 then 2 else 0 end
from generate_series(1, 3) n
"""
LIMIT: dict[str, Any] = {"max_running_per_key": 1}
MOST = {"stager": 1, "rescuer": 1, "auditor": 2}
TOLD = ("cron", "limiter", "releaser")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked from here on."""
    found: list[str] = []

    def note(_: SlowLog, statement: str, __: float) -> None:
        found.append(statement)

    monkeypatch.setattr(SlowLog, "note", note)
    return found


def loops_of(platform: Platform) -> dict[str, Loop]:
    """Every duty of a scheduler, by its name."""
    return {looper.loop.name: looper.loop for looper in build_loopers(platform)}


async def asks(loop: Loop, asked: list[str]) -> list[str]:
    """Return what a round asks that is not the first."""
    await loop.run_once()
    asked.clear()
    await loop.run_once()
    return list(asked)


async def test_a_loop_with_nothing_to_do_asks_once(database_url: str, broker_url: str, asked: list[str]) -> None:
    async with platform_of(database_url, broker_url) as platform:
        loops = loops_of(platform)
        for name, most in MOST.items():
            assert 1 <= len(found := await asks(loops[name], asked)) <= most, f"{name}: {found}"


async def test_who_is_told_by_the_stager_asks_nothing(database_url: str, broker_url: str, asked: list[str]) -> None:
    async with platform_of(database_url, broker_url) as platform:
        platform.clock = FakeClock()
        loops = loops_of(platform)
        await loops["stager"].run_once()
        for name in TOLD:
            assert await asks(loops[name], asked) == [], name


async def test_a_loop_that_hears_nothing_from_the_stager_looks_itself(
    database_url: str, broker_url: str, asked: list[str]
) -> None:
    async with platform_of(database_url, broker_url) as platform:
        platform.clock = clock = FakeClock()
        loops = loops_of(platform)
        for name in TOLD:
            clock.advance(ec.LOOKOUT_AGE_S + 0.01)
            asked.clear()
            await loops[name].run_once()
            assert GLANCE in asked, name


async def test_beside_tasks_that_stay_held_the_limiter_asks_for_all_queues_at_once(
    database_url: str, broker_url: str, asked: list[str]
) -> None:
    async with platform_of(database_url, broker_url) as platform:
        await platform.queues.put("default", QueuePolicyChange(**LIMIT))
        await platform.database.pool.execute(HELD)
        limiter = Limiter(platform.database, platform.promoter)
        assert 2 <= len(found := await asks(limiter, asked)) <= 3, found  # 看一眼、问一轮，隔一阵看一段键


async def test_an_armed_rescuer_looks_once_and_opens_a_transaction_for_whom_it_finds(
    database_url: str, broker_url: str, asked: list[str]
) -> None:
    async with platform_of(database_url, broker_url) as platform:
        clock, pool = FakeClock(), platform.database.pool
        rescuer = Rescuer(platform.database, RescuerConfig(lease_s=20.0), clock=clock)
        await rows.add_running(pool, await rows.add_worker(pool))
        for _ in range(6):
            asked.clear()
            await rescuer.run_once()
            assert len(asked) == 1
            clock.advance(5.0)
        assert rescuer.armed
        await rows.add_running(pool, await rows.add_worker(pool, lease_s=-1))
        found = await rescuer.run_once()
        assert (found["dead"], found["rescued"]) == (1, 1)


async def test_a_stream_that_was_lost_is_found_within_the_least_time_between_two_sweeps(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url) as platform:
        clock = FakeClock()
        stager = Stager(platform.database, platform.tickets, clock=clock)
        await stager.run_once()
        await platform.tickets.redis.flushdb()
        clock.advance(ec.SWEEP_MIN_S - 0.1)
        assert (await stager.run_once())["epochs"] == 0
        clock.advance(0.1)
        assert (await stager.run_once())["epochs"] == 1
