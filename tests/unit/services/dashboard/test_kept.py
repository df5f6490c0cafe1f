"""An answer that is kept: who gets the last one at once, who waits, and what becomes of errors."""

from __future__ import annotations

import asyncio

import pytest

from taskmill.clock import FakeClock
from taskmill.errors import Code, UnavailableError
from taskmill.services.dashboard import constants as c
from taskmill.services.dashboard.kept import Kept

pytestmark = pytest.mark.anyio
LEAST_S = 2.0


class Answers:
    """Numbers that count up; each costs `cost_s`, waits until it is `open`, and raises `error` if there is one."""

    def __init__(self) -> None:
        self.clock, self.cost_s, self.made = FakeClock(), 0.0, 0
        self.open, self.error = asyncio.Event(), None
        self.before: list[int | None] = []
        self.open.set()
        self.kept = Kept(self._make, self.clock, lambda: LEAST_S)

    error: Exception | None

    async def _make(self, last: int | None) -> int:
        self.before.append(last)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.clock.advance(self.cost_s)
        self.made += 1
        return self.made


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_at_once_shares_one_answer() -> None:
    answers = Answers()
    assert await asyncio.gather(*(answers.kept.get() for _ in range(12))) == [1] * 12
    assert answers.before == [None]


@pytest.mark.parametrize(("cost_s", "good_s"), [(0.0, LEAST_S), (0.5, 0.5 * c.PULSE_COST_RATIO)])
async def test_it_is_good_for_a_time_that_grows_with_its_cost(cost_s: float, good_s: float) -> None:
    answers = Answers()
    answers.cost_s = cost_s
    await answers.kept.get()
    answers.clock.advance(good_s - 0.01)
    assert await answers.kept.get() == 1
    await settled()
    assert answers.made == 1
    answers.clock.advance(0.02)
    assert await answers.kept.get() == 1, "nobody waits for the new one"
    await settled()
    assert await answers.kept.get() == 2
    assert answers.before == [None, 1]


async def test_while_it_is_computed_anew_all_get_the_last_one() -> None:
    answers = Answers()
    await answers.kept.get()
    answers.clock.advance(LEAST_S)
    answers.open.clear()
    assert [await answers.kept.get() for _ in range(3)] == [1, 1, 1]
    await settled()
    assert answers.before == [None, 1], "one computation at a time"
    answers.open.set()
    await settled()
    assert await answers.kept.get() == 2


@pytest.mark.parametrize("how", ["too old", "forgotten"])
async def test_who_may_not_have_the_last_one_waits_for_a_new_one(how: str) -> None:
    answers = Answers()
    await answers.kept.get()
    if how == "too old":
        answers.clock.advance(2 * LEAST_S)
    else:
        answers.kept.forget()
    assert await answers.kept.get() == 2


async def test_a_renewal_that_fails_is_told_in_the_log_and_by_whoever_comes_too_late(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = Answers()
    await answers.kept.get()
    answers.error = UnavailableError(Code.DATABASE_UNAVAILABLE, reason="gone")
    answers.clock.advance(LEAST_S)
    assert await answers.kept.get() == 1
    await settled()
    assert await answers.kept.get() == 1
    await settled()
    assert len(answers.before) == 3, "it is tried again"
    answers.clock.advance(LEAST_S)
    with pytest.raises(UnavailableError):
        await answers.kept.get()
    answers.error = None
    assert await answers.kept.get() == 2
