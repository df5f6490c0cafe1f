"""The shared count: fresh while it is cheap, reused while it is dear."""

from __future__ import annotations

import anyio
import pytest

from taskmill.clock import FakeClock
from taskmill.services.queues.backlog import BacklogService
from taskmill.stores.queues.backlog import Backlog

pytestmark = pytest.mark.anyio


class Counting(BacklogService):
    """Counts by a script instead of SQL: every computation takes `cost` seconds of the clock."""

    def __init__(self, clock: FakeClock, cost: float) -> None:
        self.clock, self.cost, self.computed = clock, cost, 0
        super().__init__(Scripted(self), clock)  # type: ignore[arg-type]


class Scripted:
    """Stands in for the database: sessions whose only statement advances the clock."""

    def __init__(self, owner: Counting) -> None:
        self.owner = owner
        self.sessions = self

    def begin(self) -> Scripted:
        """Begin a session."""
        return self

    async def __aenter__(self) -> Scripted:
        await anyio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def execute(self, *_: object) -> list[object]:
        """Count."""
        self.owner.computed += 1
        self.owner.clock.advance(self.owner.cost)
        return []


@pytest.mark.parametrize(("cost", "waits", "computed"), [(0.001, 0.0, 2), (1.0, 9.9, 1), (1.0, 10.1, 2)])
async def test_a_dear_answer_is_reused_for_ten_times_its_cost(cost: float, waits: float, computed: int) -> None:
    clock = FakeClock()
    counting = Counting(clock, cost)
    assert await counting.of("nobody") == Backlog("nobody")
    clock.advance(waits)
    await counting.counts()
    assert counting.computed == computed


async def test_those_who_ask_together_share_one_computation() -> None:
    counting = Counting(FakeClock(), 0.001)
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(counting.counts)
    assert counting.computed <= 2
