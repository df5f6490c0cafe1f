"""The shared count: fresh while it is cheap, reused while it is dear."""

from __future__ import annotations

import anyio
import pytest

from taskmill.clock import FakeClock
from taskmill.services.queues.backlog import BacklogService
from taskmill.stores.queues.backlog import Backlog
from tests.support.logs import captured

pytestmark = pytest.mark.anyio


class Counting(BacklogService):
    """Counts by a script instead of SQL: every computation takes `cost` seconds of the clock."""

    def __init__(self, clock: FakeClock, cost: float) -> None:
        self.clock, self.cost, self.computed = clock, cost, 0
        self.error: Exception | None = None
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
        if self.owner.error is not None:
            raise self.owner.error
        self.owner.computed += 1
        self.owner.clock.advance(self.owner.cost)
        return []


@pytest.mark.parametrize(
    ("cost", "waits", "computed", "behind"), [(0.001, 0.0, 2, 0), (1.0, 9.9, 1, 0), (1.0, 10.1, 1, 1), (1.0, 17.1, 2, 0)]
)
async def test_a_dear_answer_is_reused_and_computed_anew_behind_those_who_ask(
    cost: float, waits: float, computed: int, behind: int
) -> None:
    clock = FakeClock()
    counting = Counting(clock, cost)
    assert await counting.of("nobody") == Backlog("nobody")
    clock.advance(waits)
    await counting.counts()
    assert counting.computed == computed
    await anyio.wait_all_tasks_blocked()
    assert counting.computed == computed + behind


async def test_a_renewal_that_fails_is_told_and_the_last_answer_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    told = captured(monkeypatch, "taskmill.services.queues.backlog")
    clock = FakeClock()
    counting = Counting(clock, 1.0)
    await counting.counts()
    counting.error = OSError("away")
    clock.advance(10.1)
    for _ in range(2):
        assert await counting.counts() == {}
        await anyio.wait_all_tasks_blocked()
    assert [line["event"] for line in told] == ["积压没有重算，先用着上一次的"] * 2
    clock.advance(10)
    with pytest.raises(OSError, match="away"):
        await counting.counts()


async def test_a_renewal_ends_with_its_service() -> None:
    clock = FakeClock()
    counting = Counting(clock, 1.0)
    await counting.close()
    await counting.counts()
    clock.advance(10.1)
    await counting.counts()
    await counting.close()
    await anyio.wait_all_tasks_blocked()
    assert counting.computed == 1


async def test_those_who_ask_together_share_one_computation() -> None:
    counting = Counting(FakeClock(), 0.001)
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(counting.counts)
    assert counting.computed <= 2


@pytest.mark.parametrize(
    ("cost", "waits", "renewed", "computed"),
    [
        (0.001, 0.0, True, 2),
        (1.0, 9.9, True, 1),
        (1.0, 10.1, True, 2),
        (1.0, 10.1, False, 1),
        (1.0, 16.9, False, 1),
        (1.0, 17.1, False, 2),
    ],
)
async def test_who_asks_all_the_time_computes_anew_while_the_others_have_the_last_answer(
    cost: float, waits: float, renewed: bool, computed: int
) -> None:
    clock = FakeClock()
    counting = Counting(clock, cost)
    await counting.renewed()
    clock.advance(waits)
    await (counting.renewed() if renewed else counting.counts())
    assert counting.computed == computed


async def test_nobody_waits_while_the_answer_is_renewed() -> None:
    clock = FakeClock()
    counting = Counting(clock, 1.0)
    await counting.renewed()
    clock.advance(10.5)
    async with anyio.create_task_group() as group:
        group.start_soon(counting.renewed)
        await anyio.sleep(0)
        assert counting._lock.locked()  # 正在重算
        with anyio.fail_after(5):
            await counting.counts()
        assert counting.computed == 1
    assert counting.computed == 2
