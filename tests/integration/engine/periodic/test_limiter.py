"""The limiter: looks at every key that is held, gives what nobody gave, and rests where all is full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskmill import Concurrency, task
from taskmill.clock import FakeClock
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.engine import constants as ec
from taskmill.engine.periodic.limiter import Limiter
from taskmill.services.platform import Platform
from taskmill.stores.tasks import limits
from tests.support.clocks import SlowClock
from tests.support.engines import platform_of

pytestmark = pytest.mark.anyio
HELD = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, concurrency_key, slot)
select gen_random_uuid(), 'default', 'shop.pack', 'available', '{}', 1000, 'key-' || k, case when n = 1 then 2 else 0 end
from generate_series(1, $1) k, generate_series(1, 3) n
"""
END = "delete from taskmill.tasks where concurrency_key = $1 and slot = 2"
WAITING = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, slot)
select gen_random_uuid(), 'default', 'shop.pack', 'available', '{}', 1000, 1 from generate_series(1, 20000)
"""


@task("shop.pack", concurrency=Concurrency(key="{to}"))
async def pack(to: str = "") -> None: ...


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, pack) as made:
        yield made


async def limit(platform: Platform, **change: Any) -> None:
    await platform.queues.put("default", QueuePolicyChange(**change))
    while platform.promoter.under_way:
        await asyncio.wait(platform.promoter.under_way)


async def held(platform: Platform, keys: int) -> None:
    """Make keys with one task that has the slot of its key and two that wait for it."""
    await limit(platform, max_running_per_key=1)
    await platform.database.pool.execute(HELD, keys)


async def test_a_slot_that_nobody_gave_is_given_however_many_keys_are_full(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec, "LIMIT_KEYS", 10)
    await held(platform, 35)
    limiter = Limiter(platform.database, platform.promoter, clock=FakeClock())  # 看一遍不用时间，也就不歇
    assert [(await limiter.run_once())["promoted"] for _ in range(4)] == [0] * 4
    await platform.database.pool.execute(END, "key-34")  # 它的进程没有来得及放行下一个
    assert sum([(await limiter.run_once())["promoted"] for _ in range(4)]) == 1


async def test_after_a_dear_look_at_full_keys_it_rests_a_bounded_time(platform: Platform) -> None:
    await held(platform, 3)
    limiter = Limiter(platform.database, platform.promoter, clock=SlowClock(0.5))  # 看一遍要半秒
    assert [(await limiter.run_once())["promoted"] for _ in range(2)] == [0, 0]  # 连着两回都贵，才算贵
    await platform.database.pool.execute(END, "key-2")
    assert ec.LIMITER_REST_S == 2
    assert [(await limiter.run_once())["promoted"] for _ in range(3)] == [0, 0, 1]


async def test_a_round_with_all_keys_full_gives_nothing_and_locks_no_queue(platform: Platform) -> None:
    await held(platform, 3)
    async with platform.database.pool.acquire() as other, other.transaction():
        await other.fetch(limits.LOCK, ["default"], 500, 500)
        async with asyncio.timeout(10):  # 要锁就会等到另一个事务结束
            assert (await Limiter(platform.database, platform.promoter).run_once())["promoted"] == 0


async def test_giving_slots_goes_by_the_chosen_rows_when_the_statistics_know_of_none(platform: Platform) -> None:
    pool = platform.database.pool
    await pool.execute("alter table taskmill.tasks set (autovacuum_enabled = off)")
    await pool.execute("analyze taskmill.tasks")
    await limit(platform, max_running=100)
    await pool.execute(WAITING)
    async with pool.acquire() as connection, connection.transaction():
        plan = await connection.fetch(f"explain (analyze, buffers off) {limits.BY_QUEUE}", ["default"], [20], [None])
    lines = [row[0].strip() for row in plan]
    scanned = [line for line in lines if "on tasks t " in line]
    assert any("using tasks_pkey" in line for line in scanned), "\n".join(lines)
