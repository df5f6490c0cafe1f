"""What becomes of attempts in a harness: every way in which a handler can end, retries by the clock of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskmill import Discard, Order, Retry, RetryPolicy, Snooze, TaskContext, task
from taskmill.errors import TaskCancelled, TaskFailed
from taskmill.states import Cause, State
from taskmill.testing import FakeClock, Harness

pytestmark = pytest.mark.anyio
START = datetime(2026, 3, 1, tzinfo=UTC)


class OddError(Exception):
    pass


def raising(error: BaseException) -> Callable[[], Any]:
    def end() -> Any:
        raise error

    return end


# 处理函数怎么结束、状态、算了几次、何时再来（秒；None：不来）、失败的尝试记了什么
ENDS: list[tuple[str, Callable[[], Any], State, int, float | None, list[Cause]]] = [
    ("returns", lambda: {"a": [1]}, State.COMPLETED, 1, None, []),
    ("returns nothing", lambda: None, State.COMPLETED, 1, None, []),
    ("retry after", raising(Retry("busy", after=30)), State.RETRYABLE, 1, 30, [Cause.ERROR]),
    ("retry at once", raising(Retry(after=0)), State.RETRYABLE, 1, 0, [Cause.ERROR]),
    ("snooze after", raising(Snooze(after=60)), State.SCHEDULED, 0, 60, []),
    ("snooze until", raising(Snooze(until=START + timedelta(days=1))), State.SCHEDULED, 0, 86_400, []),
    ("discard", raising(Discard("no such person")), State.DISCARDED, 1, None, [Cause.ERROR]),
    ("discard_on", raising(OddError("odd")), State.DISCARDED, 1, None, [Cause.ERROR]),
    ("a group of snoozes", raising(BaseExceptionGroup("", [Snooze(after=5), Snooze(after=9)])), State.SCHEDULED, 0, 9, []),
    ("a delay out of bounds", raising(Retry(after=-1)), State.RETRYABLE, 1, None, [Cause.ERROR]),
    ("cancels itself", raising(asyncio.CancelledError()), State.RETRYABLE, 1, None, [Cause.ERROR]),
    ("exits", raising(SystemExit(3)), State.RETRYABLE, 1, None, [Cause.ERROR]),
    ("a result that is no JSON", lambda: {"at": float("nan")}, State.RETRYABLE, 1, None, [Cause.ERROR]),
]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "thread"])
@pytest.mark.parametrize(("how", "end", "state", "counted", "after_s", "causes"), ENDS, ids=[row[0] for row in ENDS])
async def test_one_attempt(
    how: str, end: Callable[[], Any], state: State, counted: int, after_s: float | None, causes: list[Cause], plain: bool
) -> None:
    if plain and how == "cancels itself":
        end = raising(OddError())  # 线程里抛出的取消不是取消
        state, after_s = State.DISCARDED, None

    async def coroutine() -> Any:
        return end()

    def function() -> Any:
        return end()

    made = task("test.end", retry=RetryPolicy(discard_on=OddError))(function if plain else coroutine)  # pyright: ignore[reportArgumentType]
    async with Harness(made, clock=FakeClock(START), drain_max=1) as harness:
        order = await harness.submit("test.end")
        try:
            await harness.drain()
        except ValueError:
            assert after_s == 0  # 马上又该运行：一次为限
        kept = harness.task(order.id)
        assert (kept.attempt, [each.cause for each in harness.attempts(order.id)]) == (counted, causes)
        assert kept.state == (State.AVAILABLE if after_s == 0 else state)
        if after_s is not None:
            assert harness.next_due == START + timedelta(seconds=after_s)
        assert await order.status() is kept.state


async def test_retries_come_when_the_clock_is_there_until_none_is_left() -> None:
    ran: list[int] = []

    @task("test.fail", retry=RetryPolicy(max_attempts=3, base_delay=10, max_delay=15))
    async def fail(ctx: TaskContext) -> None:
        ran.append(ctx.attempt)
        raise OSError("down")

    async with Harness(fail) as harness:
        order = await harness.submit("test.fail")
        assert await harness.drain() == 1
        assert await harness.drain() == 0
        harness.advance(10)
        assert await harness.drain() == 1
        harness.advance(15)
        assert await harness.drain() == 1
        assert ran == [1, 2, 3]
        with pytest.raises(TaskFailed, match="OSError: down"):
            await order.result()
        assert [each.attempt for each in harness.attempts(order.id)] == [1, 2, 3]


async def test_the_future_is_drained_to_the_end() -> None:
    @task("test.thrice")
    async def thrice(ctx: TaskContext) -> int:
        if ctx.attempt < 3:
            raise Retry(after=3600)
        return ctx.claim_no

    async with Harness(thrice, clock=FakeClock(START)) as harness:
        order = await harness.submit("test.thrice", delay_s=60)
        assert await harness.drain() == 0
        assert await harness.drain(future=True) == 3
        assert await order.result() == 3
        assert harness.clock.now() == START + timedelta(seconds=60 + 2 * 3600)


async def test_an_endless_handler_is_stopped_at_the_limit() -> None:
    @task("test.again")
    async def again(ctx: TaskContext) -> None:
        await ctx.submit("test.again")

    async with Harness(again, drain_max=25) as harness:
        await harness.submit("test.again")
        with pytest.raises(ValueError, match="25 attempts ran in one drain"):
            await harness.drain()
        assert len(harness.submitted) == 26
        assert sum(each.state is State.COMPLETED for each in harness.submitted) == 25


async def test_a_drain_of_exactly_the_limit_is_fine() -> None:
    @task("test.noop")
    async def noop() -> None:
        pass

    async with Harness(noop, drain_max=5) as harness:
        for _ in range(5):
            await harness.submit("test.noop")
        assert await harness.drain() == 5


@pytest.mark.parametrize("plain", [False, True], ids=["async", "thread"])
async def test_the_timeout_of_the_kind_ends_the_attempt_and_not_the_test(plain: bool) -> None:
    async def coroutine(ctx: TaskContext) -> None:
        await asyncio.Event().wait()

    def function(ctx: TaskContext) -> None:
        while not ctx.cancelled:
            pass

    made = task("test.hang", timeout=0.05, retry=RetryPolicy(max_attempts=1))(function if plain else coroutine)  # pyright: ignore[reportArgumentType]
    async with Harness(made) as harness:
        order = await harness.submit("test.hang")
        await harness.drain()
        await asyncio.sleep(0)  # 没有留下一次取消
        with pytest.raises(TaskFailed, match="TimeoutError"):
            await order.result()
        assert [each.cause for each in harness.attempts(order.id)] == [Cause.TIMEOUT]


@asynccontextmanager
async def waiting() -> AsyncIterator[tuple[Harness, Order[Any], asyncio.Task[int]]]:
    """A task whose handler waits for ever, and the drain that runs it."""
    begun = asyncio.Event()

    @task("test.wait")
    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with Harness(wait) as harness:
        order = await harness.submit("test.wait")
        draining = asyncio.create_task(harness.drain())
        await begun.wait()
        yield harness, order, draining


async def test_a_cancel_of_a_running_task_ends_its_handler() -> None:
    async with waiting() as (harness, order, draining):
        assert harness.cancel(order.id).cancel_requested
        assert await draining == 1
        with pytest.raises(TaskCancelled):
            await order.result()


async def test_a_handler_that_cancels_its_own_task_and_returns_leaves_no_cancel_behind() -> None:
    async def quits(ctx: TaskContext) -> str:
        harness.cancel(ctx.id)
        return "done all the same"

    made = task("test.quits")(quits)
    async with Harness(made) as harness:
        order = await harness.submit("test.quits")
        await harness.drain()
        await asyncio.sleep(0)
        assert await order.result() == "done all the same"


async def test_a_cancel_of_the_test_is_not_the_handlers_business() -> None:
    async with waiting() as (harness, order, draining):
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert (harness.task(order.id).state, harness.task(order.id).attempt) == (State.AVAILABLE, 0)


async def test_what_expires_is_discarded_unrun() -> None:
    @task("test.noop")
    async def noop() -> None:
        pass

    async with Harness(noop, clock=FakeClock(START)) as harness:
        order = await harness.submit("test.noop", delay_s=60, expires_at=START + timedelta(seconds=30))
        assert await harness.drain(future=True) == 0
        assert await order.status() is State.DISCARDED
        assert [each.cause for each in harness.attempts(order.id)] == [Cause.EXPIRED]


async def test_a_final_task_comes_back_with_fresh_attempts() -> None:
    @task("test.fail", retry=RetryPolicy(max_attempts=1))
    async def fail(ctx: TaskContext) -> int:
        if ctx.claim_no == 1:
            raise OSError
        return ctx.attempt

    async with Harness(fail) as harness:
        order = await harness.submit("test.fail")
        await harness.drain()
        harness.retry(order.id)
        await harness.drain()
        assert await order.result() == 1
        assert harness.task(order.id).claim_no == 2
