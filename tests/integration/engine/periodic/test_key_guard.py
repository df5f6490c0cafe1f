"""A key of ours that somebody filled with another type: its queue goes on without a hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from taskmill import constants as c
from taskmill import keys
from taskmill.engine import constants as ec
from taskmill.engine.periodic.key_guard import KeyGuard
from taskmill.engine.periodic.stager import Stager
from taskmill.ids import new_id
from taskmill.services.doctor.checks import examine
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.broker.tickets import BROKER_AWAY
from tests.support import platforms

pytestmark = pytest.mark.anyio
LANE = ("default", c.PRIORITY_DEFAULT)


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platforms.opened(database_url, broker_url) as found:
        yield found


@pytest.mark.parametrize("key", [keys.tickets(*LANE), keys.epoch("default"), keys.tickets("default", 4)])
async def test_a_foreign_key_is_replaced_and_its_queue_goes_on(platform: Platform, key: str) -> None:
    stager, guard, redis = (
        Stager(platform.database, platform.tickets),
        KeyGuard(platform.database, platform.tickets),
        platform.tickets.redis,
    )
    await platform.submit.submit(SubmitRequest(kind="demo.echo"))
    await stager.run_once()
    assert await guard.run_once() == {"repaired": 0}
    await redis.delete(key)
    await redis.set(key, "a cache of somebody else")
    await platform.submit.submit(SubmitRequest(kind="demo.echo"))  # 存下了，票据送没送出都行

    findings = await examine(platform.settings, platform.host)
    assert next(finding for finding in findings if finding.name == "keys").ok is False
    assert await guard.run_once() == {"repaired": 1}

    for _ in range(3):
        await Stager(platform.database, platform.tickets).run_once()
    assert await guard.run_once() == {"repaired": 0}
    read = await platform.tickets.read(str(new_id()), {LANE: 10})
    assert len({ticket.id for _, ticket in read[LANE]}) == 2


class SlowOnce:
    """A clock of which the first two looks are half a minute apart, as if a server had hung in between."""

    def __init__(self, seconds: list[float]) -> None:
        self._seconds = seconds

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self._seconds.pop(0)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0, 30, 40, 40.001], [ec.KEY_GUARD_PERIOD_S, ec.KEY_GUARD_PERIOD_S]),  # 等了一次服务器
        ([0, 0.2, 40, 40.2], [ec.KEY_GUARD_PERIOD_S, 0.2 * ec.KEY_GUARD_COST_RATIO]),  # 队列很多
        ([0, 30, 40, 70], [ec.KEY_GUARD_PERIOD_S, ec.SWEEP_MAX_S]),
    ],
)
async def test_a_server_that_hung_does_not_put_the_next_look_off(
    platform: Platform, seconds: list[float], expected: list[float]
) -> None:
    guard = KeyGuard(platform.database, platform.tickets, SlowOnce(list(seconds)))
    periods: list[float] = []
    for _ in expected:
        await guard.run_once()
        periods.append(guard.period_s)
    assert periods == pytest.approx(expected)


async def test_without_the_guard_the_queue_would_stand(platform: Platform) -> None:
    await platform.submit.submit(SubmitRequest(kind="demo.echo"))
    await platform.tickets.redis.set(keys.epoch("default"), "x")
    with pytest.raises(BROKER_AWAY, match="WRONGTYPE"):
        await Stager(platform.database, platform.tickets).run_once()
