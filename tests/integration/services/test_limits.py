"""Limits of queues: how many run at once, in all and by key, how many start in a time, how many wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID

import pytest

from taskmill import Concurrency, TaskContext, task
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.rate import Rate
from taskmill.engine.periodic.limiter import Limiter
from taskmill.errors import Code, InputError, LimitError
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.tasks.limits import Given
from taskmill.stores.tasks.rates import Place
from tests.support.engines import final, live, platform_of, running, stage, submit

pytestmark = pytest.mark.anyio


@task("shop.pack", concurrency=Concurrency(key="{to}"))
async def pack(to: str = "") -> None: ...


@task("shop.any")
async def anything(n: int = 0) -> None: ...


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, pack, anything) as made:
        yield made


async def limit(platform: Platform, **limits: Any) -> None:
    await platform.queues.put("default", QueuePolicyChange(**limits))
    await quiet(platform)


async def quiet(platform: Platform) -> None:
    """Wait until everything that was asked to be promoted is."""
    while platform.promoter.under_way:
        await asyncio.wait(platform.promoter.under_way)


async def many(platform: Platform, n: int, **options: Any) -> list[UUID]:
    ids = [await submit(platform, "shop.any", {"n": number}, **options) for number in range(n)]
    await quiet(platform)
    return ids


async def slots(platform: Platform, ids: list[UUID]) -> list[int | None]:
    rows = [await live(platform, each) for each in ids]
    return [row["slot"] if row is not None else -1 for row in rows]


async def test_of_a_queue_with_max_running_so_many_have_a_slot_and_a_ticket(platform: Platform) -> None:
    await limit(platform, max_running=2)
    ids = await many(platform, 5)
    assert await slots(platform, ids) == [2, 2, 1, 1, 1]
    rows = [await live(platform, each) for each in ids]
    assert [row is not None and row["ticket_at"] is not None for row in rows] == [True, True, False, False, False]
    await stage(platform)  # 补票的不碰被挡着的
    assert await slots(platform, ids) == [2, 2, 1, 1, 1]


async def test_a_cancel_gives_the_slot_to_the_next_at_once(platform: Platform) -> None:
    await limit(platform, max_running=1)
    ids = await many(platform, 3)
    await platform.tasks.cancel(ids[0])
    await quiet(platform)
    assert await slots(platform, ids) == [-1, 2, 1]


async def test_by_priority_then_by_order(platform: Platform) -> None:
    await limit(platform, max_running=1)
    first, *_ = await many(platform, 2)
    (urgent,) = await many(platform, 1, priority=1)
    await platform.tasks.cancel(first)
    await quiet(platform)
    assert await slots(platform, [urgent]) == [2]


async def test_each_key_has_its_own_slots_and_a_task_without_a_key_needs_none(platform: Platform) -> None:
    await limit(platform, max_running_per_key=1)
    ids = [await submit(platform, "shop.pack", {"to": to}) for to in "aabb"] + await many(platform, 2)
    await quiet(platform)
    assert await slots(platform, ids) == [2, 0, 2, 0, 2, 2]
    await platform.tasks.cancel(ids[0])
    await quiet(platform)
    assert await slots(platform, ids) == [-1, 2, 2, 0, 2, 2]


async def test_both_limits_hold_together(platform: Platform) -> None:
    await limit(platform, max_running=2, max_running_per_key=1)
    ids = [await submit(platform, "shop.pack", {"to": to}) for to in "aabcd"]
    await quiet(platform)
    assert await slots(platform, ids) == [2, 0, 2, 1, 1]


async def test_a_limit_that_is_raised_promotes_at_once_one_that_goes_lets_all_go(platform: Platform) -> None:
    await limit(platform, max_running=1)
    ids = await many(platform, 4)
    await limit(platform, max_running=3)
    assert await slots(platform, ids) == [2, 2, 2, 1]
    await limit(platform, max_running=None)
    assert (await Limiter(platform.database, platform.promoter).run_once())["released"] == 1
    await stage(platform)
    row = await live(platform, ids[3])
    assert row is not None
    assert row["ticket_at"] is not None


async def test_tasks_that_were_there_before_the_limit_line_up(platform: Platform) -> None:
    ids = await many(platform, 4)
    await platform.database.pool.execute("update taskmill.tasks set ticket_at = null")
    await limit(platform, max_running=1)
    done = await Limiter(platform.database, platform.promoter).run_once()
    assert (done["enrolled"], done["promoted"]) == (4, 1)
    assert await slots(platform, ids) == [2, 1, 1, 1]


async def test_no_more_than_the_limit_run_at_once_and_all_run(database_url: str, broker_url: str) -> None:
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()

    @task("shop.busy", concurrency=Concurrency(key="{to}"))
    async def busy(to: str, ctx: TaskContext) -> None:
        for key in (to, "all"):
            now[key] += 1
            most[key] = max(most[key], now[key])
        await asyncio.sleep(0)
        for key in (to, "all"):
            now[key] -= 1

    async with running(database_url, broker_url, busy, concurrency=20) as platform:
        await limit(platform, max_running=3, max_running_per_key=1)
        ids = [await submit(platform, "shop.busy", {"to": to}) for to in "abcde" * 20]
        for each in ids:
            await final(platform, each)
    assert most["all"] <= 3
    assert {most[key] for key in "abcde"} == {1}


async def test_a_held_task_is_not_claimed_by_a_stale_ticket(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, anything) as platform:
        await limit(platform, max_running=1)
        await platform.database.pool.execute("insert into taskmill.queues (name) values ('x') on conflict do nothing")
        ids = await many(platform, 2, queue="default", run_at=None)
        for each in ids:
            await final(platform, each)


async def test_a_place_named_in_the_moment_in_which_the_promoter_ends_is_not_lost(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[set[Place]] = []

    async def give(places: Iterable[Place]) -> Given:
        given.append(set(places))
        if len(given) == 1:  # ends without a pause, so this comes before the callback of its task
            asyncio.get_running_loop().call_soon(platform.promoter.soon, [("default", "late")])
        return Given({}, {})

    monkeypatch.setattr(platform.promoter, "give", give)
    platform.promoter.soon([("default", None)])
    await quiet(platform)
    await asyncio.sleep(0)
    await quiet(platform)
    assert given == [{("default", None)}, {("default", "late")}]


async def test_a_rate_lets_a_burst_start_and_then_as_its_bucket_fills(platform: Platform) -> None:
    await limit(platform, rate=Rate(limit=10, period_s=100, burst=3))
    ids = await many(platform, 5)
    assert await slots(platform, ids) == [2, 2, 2, 1, 1]
    await platform.database.pool.execute("update taskmill.tasks set state = 'running', claim_no = 1 where slot = 2")
    limiter = Limiter(platform.database, platform.promoter)
    assert (await limiter.run_once())["promoted"] == 0
    await platform.database.pool.execute("update taskmill.rate_buckets set at = at - interval '10 seconds'")
    assert (await limiter.run_once())["promoted"] == 1


async def test_what_no_worker_claims_does_not_pile_up_beyond_a_burst(platform: Platform) -> None:
    await limit(platform, rate=Rate(limit=10, period_s=1, burst=2))
    await many(platform, 5)
    await platform.database.pool.execute("update taskmill.rate_buckets set at = at - interval '1 hour'")
    assert (await Limiter(platform.database, platform.promoter).run_once())["promoted"] == 0


async def test_a_backlog_at_its_limit_takes_no_more_and_a_batch_all_or_none(platform: Platform) -> None:
    await limit(platform, max_backlog=3)
    platform.limits.forget()
    await many(platform, 2)
    with pytest.raises(LimitError) as caught:
        await platform.submit.submit_many([SubmitRequest(kind="shop.any")] * 2)
    assert (caught.value.code, caught.value.details["limit"]) == (Code.QUEUE_FULL, 3)
    await many(platform, 1)
    with pytest.raises(LimitError):
        await many(platform, 1)
    await many(platform, 1, queue="other")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_running": 0}, "max_running"),
        ({"max_running_per_key": -1}, "max_running_per_key"),
        ({"max_backlog": 0}, "max_backlog"),
        ({"rate": Rate(limit=0, period_s=1)}, "rate.limit"),
        ({"rate": Rate(limit=1, period_s=0)}, "rate.period_s"),
        ({"rate": Rate(limit=1, period_s=float("nan"))}, "rate.period_s"),
        ({"rate": Rate(limit=1, period_s=1, burst=0)}, "rate.burst"),
    ],
    ids=str,
)
async def test_a_limit_that_cannot_be_is_refused_and_named(platform: Platform, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        await platform.queues.put("default", QueuePolicyChange(**change))
    assert caught.value.details["field"] == field


async def test_a_paused_queue_gives_no_slots_and_a_resumed_one_does_at_once(platform: Platform) -> None:
    await limit(platform, max_running=1)
    await platform.queues.pause("default")
    ids = await many(platform, 2)
    assert await slots(platform, ids) == [1, 1]
    await platform.queues.resume("default")
    await quiet(platform)
    assert await slots(platform, ids) == [2, 1]


async def test_without_the_limit_per_key_the_other_one_still_holds(platform: Platform) -> None:
    await limit(platform, max_running=3, max_running_per_key=1)
    ids = [await submit(platform, "shop.pack", {"to": "a"}) for _ in range(4)]
    await quiet(platform)
    assert await slots(platform, ids) == [2, 0, 0, 0]
    await limit(platform, max_running_per_key=None)
    await Limiter(platform.database, platform.promoter).run_once()
    assert await slots(platform, ids) == [2, 2, 2, 1]


async def test_a_retry_lines_up_again_behind_none_of_its_age(platform: Platform) -> None:
    await limit(platform, max_running=1)
    ids = await many(platform, 2)
    await platform.database.pool.execute(
        "update taskmill.tasks set state = 'retryable', slot = null, ticket_at = null, run_at = now() where id = $1", ids[0]
    )
    await stage(platform)
    assert await slots(platform, ids) == [None, 1]
    await Limiter(platform.database, platform.promoter).run_once()
    assert await slots(platform, ids) == [2, 1]
