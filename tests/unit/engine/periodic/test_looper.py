"""The looper: what a round that fails costs, and when the next one comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from taskmill.engine import constants as c
from taskmill.engine.periodic.looper import Looper
from tests.support.logs import captured

pytestmark = pytest.mark.anyio
PERIOD_S = 0.25


class Duty:
    """Does what the test says, round after round."""

    name = "duty"
    period_s = PERIOD_S

    def __init__(self, *rounds: Mapping[str, int] | Exception) -> None:
        self.rounds = list(rounds)
        self.turns = asyncio.Semaphore(0)

    async def run_once(self) -> Mapping[str, int]:
        self.turns.release()
        found = self.rounds.pop(0) if self.rounds else {}
        if isinstance(found, Exception):
            raise found
        return found


@pytest.mark.parametrize("error", [ConnectionRefusedError("away"), ZeroDivisionError("a bug")])
async def test_failures_put_the_next_round_off_ever_longer_and_success_ends_that(error: Exception) -> None:
    looper = Looper(Duty(*[error] * 6, {"done": 3}))
    delays = [await looper._round() for _ in range(6)]
    assert delays == [min(c.RECONNECT_MAX_S, PERIOD_S * 2**n) for n in range(1, 7)]
    assert (looper.failures, looper.last_success) == (6, None)
    delay = await looper._round()
    assert PERIOD_S * 0.8 <= delay <= PERIOD_S * 1.2
    assert looper.failures == 0 and looper.last_success is not None
    assert looper.done == {"done": 3}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return captured(monkeypatch, "taskmill.engine.periodic.looper")


@pytest.mark.parametrize(
    ("error", "traceback"), [(ConnectionRefusedError("away"), False), (ZeroDivisionError("a bug"), True)]
)
async def test_an_outage_is_told_in_a_line_and_a_bug_with_its_traceback(
    told: list[Any], error: Exception, traceback: bool
) -> None:
    await Looper(Duty(error))._round()
    assert [bool(line.get("exc_info")) for line in told] == [traceback]


async def test_a_period_that_changed_counts_at_once() -> None:
    duty = Duty(ConnectionRefusedError("away"))
    looper = Looper(duty)
    duty.period_s = PERIOD_S / 2
    assert await looper._round() == PERIOD_S


async def test_more_to_do_is_done_at_once() -> None:
    assert await Looper(Duty({"more": 1}))._round() == 0.0


async def test_a_loop_goes_on_after_a_bug_until_it_is_stopped() -> None:
    duty = Duty(ZeroDivisionError("a bug"), {"more": 1}, {"more": 1})
    looper = Looper(duty)
    looper.start()
    async with asyncio.timeout(60):
        for _ in range(3):
            await duty.turns.acquire()
    await looper.stop()
    assert looper.last_success is not None


async def test_who_is_woken_does_not_wait_for_its_period() -> None:
    duty = Duty()
    duty.period_s = 3_600.0
    looper = Looper(duty)
    looper.start()
    async with asyncio.timeout(60):
        for _ in range(3):
            await duty.turns.acquire()
            looper.wake()
        await duty.turns.acquire()
    await looper.stop()


async def test_who_backs_off_is_not_woken() -> None:
    looper = Looper(Duty(ConnectionRefusedError("away")))
    await looper._round()
    looper.wake()
    assert not looper._woken.is_set()


async def test_a_loop_that_never_began_can_be_stopped() -> None:
    await Looper(Duty()).stop()
