"""Rates of queues and of their keys: in no time start more than a burst and what the bucket gained, by PostgreSQL's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest

from taskmill import Concurrency, task
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.engine.periodic.limiter import Limiter
from taskmill.engine.periodic.pruner import Pruner
from taskmill.services.platform import Platform
from taskmill.stores.tasks import rates
from tests.support.engines import live, platform_of, submit, worker_on
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
BUCKETS = ("rate_buckets", "key_rate_buckets")


@task("shop.pack", concurrency=Concurrency(key="{to}"))
async def pack(to: str = "") -> None: ...


@task("shop.any")
async def anything() -> None: ...


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, pack, anything) as made:
        yield made


async def quiet(platform: Platform) -> None:
    while platform.promoter.under_way:
        await asyncio.wait(platform.promoter.under_way)


async def limit(platform: Platform, **limits: Any) -> None:
    await platform.queues.put("default", QueuePolicyChange(**limits))
    await quiet(platform)


async def packs(platform: Platform, keys: str) -> list[UUID]:
    ids = [await submit(platform, "shop.pack", {"to": key}) for key in keys]
    await quiet(platform)
    return ids


async def slots(platform: Platform, ids: list[UUID]) -> list[int | None]:
    rows = [await live(platform, each) for each in ids]
    return [row["slot"] if row is not None else -1 for row in rows]


async def later(platform: Platform, seconds: float) -> None:
    """Let time pass for the buckets."""
    for table in BUCKETS:
        await platform.database.pool.execute(f"update taskmill.{table} set at = at - $1 * interval '1 second'", seconds)


async def now(platform: Platform) -> float:
    return await platform.database.pool.fetchval("select extract(epoch from clock_timestamp())::float8")


async def start(platform: Platform) -> int:
    """Claim whatever may start; returns how many did."""
    claimed = "update taskmill.tasks set state = 'running', claim_no = 1 where slot = 2 and state = 'available' returning id"
    return len(await platform.database.pool.fetch(claimed))


async def promote(platform: Platform) -> int:
    return (await Limiter(platform.database, platform.promoter).run_once())["promoted"]


async def test_each_key_has_a_bucket_of_its_own_and_a_task_without_a_key_needs_none(platform: Platform) -> None:
    await limit(platform, rate_per_key=Rate(limit=10, period_s=100, burst=2))
    ids = await packs(platform, "aaabbb")
    free = await submit(platform, "shop.any")
    await quiet(platform)
    assert await slots(platform, [*ids, free]) == [2, 2, 0, 2, 2, 0, 2]
    await start(platform)
    assert await promote(platform) == 0
    await later(platform, 10)
    assert await promote(platform) == 2
    assert await slots(platform, ids) == [2] * 6


async def test_the_rates_of_queue_and_key_and_the_limits_hold_together(platform: Platform) -> None:
    rate = Rate(limit=1, period_s=100, burst=3)
    await limit(platform, rate=rate, rate_per_key=Rate(limit=1, period_s=100, burst=2), max_running_per_key=1)
    assert await slots(platform, await packs(platform, "aabbccdd")) == [2, 0, 2, 0, 2, 0, 1, 0]


@pytest.mark.parametrize("limits", [{"rate": 1}, {"rate_per_key": 1}, {"rate": 2, "rate_per_key": 1}], ids=str)
@pytest.mark.parametrize("idle", [0, 40], ids=["busy", "after a standstill"])
async def test_in_no_window_start_more_than_a_burst_and_what_the_bucket_gained(
    platform: Platform, limits: dict[str, int], idle: int
) -> None:
    burst, steps = 3, [0.25] * 12 + [3.0, 0.5, 0.9, 0.1, 7.0, 0.0, 0.0, 1.0, 1.0]
    await limit(platform, **{name: Rate(limit=per_s, period_s=1, burst=burst) for name, per_s in limits.items()})
    await packs(platform, "a" * 40)
    passed, lag, starts = 0.0, 0.0, list[float]()
    for _ in range(idle):  # 没有工作进程的十秒：放行者照常看
        await later(platform, 0.25)
        await promote(platform)
    for step in steps:
        await later(platform, step)
        passed += step
        looked = await now(platform)
        await promote(platform)
        starts += [await now(platform) + passed] * await start(platform)
        lag = max(lag, await now(platform) - looked)
    assert len(starts) > burst
    per_s = min(limits.values())
    for (first, begin), (last, end) in combinations(enumerate(starts), 2):  # 看过之后到领取之间，桶还在长
        assert last - first + 1 <= burst + per_s * (end - begin + lag), (begin, end, lag)


async def test_what_waits_for_its_queue_counts_as_tokens_in_hand(platform: Platform) -> None:
    await limit(platform, max_running=1, rate_per_key=Rate(limit=1, period_s=1, burst=2))
    ids = await packs(platform, "aaaa")
    for _ in range(5):
        await later(platform, 60)
        await promote(platform)
    assert await slots(platform, ids) == [2, 1, 0, 0]


async def test_a_rate_that_comes_later_holds_those_that_line_up_already(platform: Platform) -> None:
    await limit(platform, max_running=1)
    ids = await packs(platform, "aaaa")
    assert await slots(platform, ids) == [2, 1, 1, 1]
    await limit(platform, max_running=None, rate_per_key=Rate(limit=1, period_s=3600, burst=1))
    await promote(platform)
    assert await slots(platform, ids) == [2, 0, 0, 0]  # 已经放行的那一个也算在一阵之内


async def test_a_limit_of_keys_that_comes_later_holds_those_that_line_up_already(platform: Platform) -> None:
    await limit(platform, max_running=1)
    ids = await packs(platform, "aaab")
    await limit(platform, max_running=10, max_running_per_key=1)
    for _ in range(3):
        await promote(platform)
    assert await slots(platform, ids) == [2, 0, 0, 2]


async def test_a_submitter_that_does_not_know_of_the_rate_yet_does_not_pass_it(platform: Platform) -> None:
    await limit(platform, max_running=10)
    await packs(platform, "z")
    assert platform.limits.fresh
    await platform.database.pool.execute(
        """update taskmill.queues set rate_per_key = '{"limit": 1, "period_s": 3600, "burst": 1}'"""
    )
    assert await slots(platform, await packs(platform, "aa")) == [2, 0]


async def test_a_submit_by_sql_lines_up_by_key(platform: Platform) -> None:
    await limit(platform, rate_per_key=Rate(limit=1, period_s=3600, burst=1))
    ids = [
        await platform.database.pool.fetchval("""select taskmill.submit_task('shop.pack', '{"to": "a"}')""")
        for _ in range(2)
    ]
    assert await slots(platform, ids) == [0, 0]
    await promote(platform)
    assert await slots(platform, ids) == [2, 0]


async def test_buckets_of_keys_go_when_they_are_full_or_their_rate_is_gone(platform: Platform) -> None:
    await limit(platform, rate_per_key=Rate(limit=1, period_s=10, burst=2))
    await packs(platform, "aab")
    await start(platform)
    await promote(platform)
    pruner, count = Pruner(platform.database), "select count(*) from taskmill.key_rate_buckets"
    assert (await pruner.run_once())["buckets"] == 0
    await later(platform, 10.5)
    assert (await pruner.run_once())["buckets"] == 1
    assert await platform.database.pool.fetchval(count) == 1
    await limit(platform, rate_per_key=None)
    assert (await pruner.run_once())["buckets"] == 1


async def test_the_limiter_comes_back_when_the_next_key_has_a_token(platform: Platform) -> None:
    await limit(platform, rate_per_key=Rate(limit=1, period_s=1, burst=1))
    await packs(platform, "aa")
    await start(platform)
    await platform.database.pool.execute(
        "update taskmill.key_rate_buckets set tokens = 0.9, ceiling = 1, at = now() + interval '1 hour'"
    )
    limiter = Limiter(platform.database, platform.promoter)
    await limiter.run_once()
    assert limiter.period_s == pytest.approx(0.1)


async def test_a_bucket_does_not_fill_behind_those_that_have_a_token_and_wait(platform: Platform) -> None:
    await limit(platform, rate=Rate(limit=1, period_s=1, burst=3))
    await packs(platform, "a" * 10)
    await later(platform, 60)  # 没有人看桶，也没有工作进程
    assert await start(platform) == 3
    assert await promote(platform) == 0
    await later(platform, 1)
    assert await promote(platform) == 1


async def test_a_start_makes_room_in_the_bucket_at_once(database_url: str, broker_url: str) -> None:
    ended = asyncio.Event()

    @task("shop.hold")
    async def hold() -> None:
        await ended.wait()

    async with platform_of(database_url, broker_url, hold) as platform:
        await limit(platform, rate=Rate(limit=1, period_s=3600, burst=1))
        ceiling = "select ceiling from taskmill.rate_buckets"
        await submit(platform, "shop.hold")
        await quiet(platform)
        assert await platform.database.pool.fetchval(ceiling) == 0
        async with worker_on(platform):  # 没有调度器；任务还没有完
            await eventually(lambda: platform.database.pool.fetchval(f"{ceiling} where ceiling = 1"))
            ended.set()


@pytest.mark.parametrize("key", [None, "a"])
async def test_the_bucket_goes_on_filling_between_the_look_and_the_write(platform: Platform, key: str | None) -> None:
    rate = Rate(limit=10, period_s=1, burst=5)
    place = ("default", key)
    async with platform.database.transaction() as connection:
        seen = (await rates.levels(connection, {place: rate}))[place]
        spent = seen.spent(2, rate)
        assert spent is not None
        await rates.store(connection, {place: replace(spent, tokens=0.0)})
        again = (await rates.levels(connection, {place: rate}))[place]
    passed = (again.at - seen.at).total_seconds()
    assert passed > 0
    assert again.tokens == pytest.approx(min(3.0, passed * 10))
    assert again.ceiling == 3.0
