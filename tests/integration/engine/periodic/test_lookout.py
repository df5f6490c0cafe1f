"""The lookout: whom a look wakes, and that what others add is done without waiting for a period."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from taskmill.clock import FakeClock
from taskmill.engine import constants as ec
from taskmill.engine.periodic.lookout import Lookout
from taskmill.services.platform import Platform
from taskmill.stores.tasks.glance import Glance
from tests.support.engines import platform_of

pytestmark = pytest.mark.anyio
TICKETLESS = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms)
values (gen_random_uuid(), 'default', 'shop.step', 'available', '{}', 1000)
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
    assert await lookout.look() == Glance(lanes=[])
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


async def test_a_loop_of_its_own_looks_every_time(platform: Platform) -> None:
    lookout = Lookout(platform.database, clock=FakeClock())
    assert await lookout.recent() is not await lookout.recent()
