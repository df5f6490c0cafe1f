"""The lookout: whom a look wakes, and that what others add is done without waiting for a period."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from taskmill.clock import FakeClock
from taskmill.engine import constants as ec
from taskmill.engine.periodic.lookout import Lookout
from taskmill.services.platform import Platform
from taskmill.stores.tasks.glance import Glance
from tests.support.engines import platform_of
from tests.support.lookouts import Costly, costly_lookout

pytestmark = pytest.mark.anyio
TICKETLESS = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms)
values (gen_random_uuid(), 'default', 'shop.step', 'available', '{}', 1000)
"""
# 编号里的时刻与其余的时刻一样老
ROW = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, run_at, expires_at)
select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || substr(replace(gen_random_uuid()::text, '-', ''), 13))::uuid,
       $2, 'shop.step', $3, '{}', 1000, at, case when $3 = 'scheduled' then at end
from (select now() - interval '1 second' * $1::float8 as at) a
returning id
"""


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url) as platform:
        yield platform


async def test_a_look_wakes_whom_it_concerns_and_not_too_often(platform: Platform) -> None:
    clock, woken = FakeClock(), list[str]()
    lookout = Lookout(platform.database, clock=clock)
    lookout.wake(lambda seen: bool(seen.lanes), lambda: woken.append("lanes"))
    lookout.wake(lambda seen: seen.pending, lambda: woken.append("pending"))
    assert await lookout.look() == Glance()
    await platform.database.pool.execute(TICKETLESS)
    assert (await lookout.look()).lanes and woken == [], "a busy stager looks often"
    clock.advance(ec.LOOKOUT_TELL_S)
    await lookout.look()
    assert woken == ["lanes"]


async def test_what_was_seen_is_shared_as_long_as_it_is_fresh(platform: Platform) -> None:
    clock = FakeClock()
    lookout = Lookout(platform.database, clock=clock)
    lookout.wake(lambda _: False, lambda: None)
    first = await lookout.look()
    clock.advance(ec.LOOKOUT_AGE_S)
    assert await lookout.recent() is first
    clock.advance(0.01)
    assert await lookout.recent() is not first


async def put(platform: Platform, age_s: float, *, queue: str = "default", state: str = "available") -> UUID:
    """Write a task that is so many seconds old, was due and (a scheduled one) expired so long ago."""
    async with platform.database.pool.acquire() as connection:
        await connection.execute("insert into taskmill.queues (name) values ($1) on conflict do nothing", queue)
        return await connection.fetchval(ROW, age_s, queue, state)


async def test_after_a_costly_look_only_what_came_lately_is_seen(platform: Platform) -> None:
    lookout, clock = costly_lookout(platform.database)
    assert await lookout.look() == Glance()
    for state in ("available", "scheduled"):
        await put(platform, 60, state=state)
    assert await lookout.look() == Glance(), "older than LOOK_LATELY_S, and not there before"
    new = await put(platform, 0.5)
    await put(platform, 0.5, state="scheduled")
    seen = await lookout.look()
    assert seen.lanes == {("default", 2): new} and seen.due and seen.expired
    clock.advance(ec.SWEEP_MAX_S)
    whole = await lookout.look()
    assert whole.lanes["default", 2] < new, "the whole is looked at again"
    assert whole.due and whole.expired and whole.due < seen.due and whole.expired < seen.expired


async def test_what_was_there_before_is_still_seen_after_a_costly_look(platform: Platform) -> None:
    old = await put(platform, 60)
    for state in ("available", "scheduled"):
        await put(platform, 50, queue="other", state=state)
    lookout, _ = costly_lookout(platform.database)
    whole = await lookout.look()
    assert whole.lanes["default", 2] == old and len(whole.lanes) == 2 and whole.due and whole.expired
    newer = await put(platform, 40)
    assert await lookout.look() == whole
    await platform.database.pool.execute("delete from taskmill.tasks where id = $1", old)
    assert (await lookout.look()).lanes["default", 2] == newer


async def test_a_paused_queue_is_left_out_of_what_came_lately(platform: Platform) -> None:
    lookout, _ = costly_lookout(platform.database)
    assert await lookout.look() == Glance()
    await put(platform, 0.5)
    await platform.database.pool.execute("update taskmill.queues set paused_at = now()")
    assert not (await lookout.look()).lanes


async def test_a_lone_loop_looks_at_everything_whatever_it_costs(platform: Platform) -> None:
    lookout = Lookout(platform.database, clock=Costly())
    assert await lookout.look() == Glance()
    await put(platform, 60)
    assert (await lookout.look()).lanes


async def test_a_loop_of_its_own_looks_every_time(platform: Platform) -> None:
    lookout = Lookout(platform.database, clock=FakeClock())
    assert await lookout.recent() is not await lookout.recent()
