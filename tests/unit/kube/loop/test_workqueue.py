"""The work queue: once per key, never two workers on one, later means later, and failures wait longer each time."""

from __future__ import annotations

import asyncio

import pytest

from taskmill.clock import FakeClock
from taskmill.kube import constants as c
from taskmill.kube.loop.workqueue import WorkQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue[str]:
    return WorkQueue(clock, jitter=lambda: 1.0)


def drain(queue: WorkQueue[str]) -> list[str]:
    found = []
    while (key := queue.take_nowait()) is not None:
        found.append(key)
    return found


async def test_keys_come_once_and_in_turn(queue: WorkQueue[str]) -> None:
    for key in "abcab":
        queue.add(key)
    assert queue.depth == 3
    assert drain(queue) == ["a", "b", "c"]


async def test_a_key_that_is_worked_on_comes_back_after_it_is_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert queue.take_nowait() == "a"
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert drain(queue) == ["b"]  # a 还在别人手上
    queue.done("a")
    assert drain(queue) == ["a"]
    queue.done("a")
    assert drain(queue) == []
    queue.done("b")
    assert queue.idle


async def test_the_earliest_appointment_stands(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 60)
    clock.advance(2.9)
    assert drain(queue) == []
    assert queue.ripen() == pytest.approx(0.1)
    clock.advance(0.1)
    assert drain(queue) == ["a"]
    queue.done("a")
    clock.advance(100)
    assert drain(queue) == []  # 被取代的约定不再算数


async def test_being_worked_on_now_cancels_the_appointment(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 5)
    queue.add("a")
    assert drain(queue) == ["a"]
    queue.done("a")
    clock.advance(5)
    assert drain(queue) == []


async def test_an_appointment_that_comes_due_while_busy_waits_its_turn(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add("a")
    assert queue.take_nowait() == "a"
    queue.add_after("a", 1)
    clock.advance(1)
    assert drain(queue) == []
    queue.done("a")
    assert drain(queue) == ["a"]


async def test_pauses_double_up_to_the_limit_and_success_resets_them(queue: WorkQueue[str], clock: FakeClock) -> None:
    pauses = []
    for _ in range(12):
        pauses.append(queue.retry("a"))
        clock.advance(pauses[-1])
        assert drain(queue) == ["a"]
        queue.done("a")
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == c.KUBE_RETRY_MAX_S
    queue.succeeded("a")
    assert queue.retry("a") == c.KUBE_RETRY_MIN_S


async def test_the_server_may_ask_for_a_longer_pause(queue: WorkQueue[str]) -> None:
    assert queue.retry("a", at_least_s=7) == 7


async def test_a_forgotten_key_does_not_come_back(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.retry("a")
    queue.add("b")
    queue.forget("a")
    queue.forget("b")
    clock.advance(10)
    assert drain(queue) == []
    assert queue.retry("a") == c.KUBE_RETRY_MIN_S


async def test_how_long_the_oldest_has_waited(queue: WorkQueue[str], clock: FakeClock) -> None:
    assert queue.oldest_s == 0
    queue.add("a")
    clock.advance(2)
    queue.add("b")
    assert queue.oldest_s == 2


async def test_a_waiting_worker_wakes_for_a_new_key_and_for_a_due_one() -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 1.0)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    assert await waiting == "a"
    queue.add_after("b", 0.01)
    assert await asyncio.wait_for(queue.take(), 5) == "b"


async def test_no_key_is_lost_and_none_is_held_twice_among_many_workers() -> None:
    queue: WorkQueue[int] = WorkQueue()
    held: set[int] = set()
    done: dict[int, int] = {}

    async def work() -> None:
        while True:
            key = await queue.take()
            assert key not in held
            held.add(key)
            await asyncio.sleep(0)
            held.discard(key)
            done[key] = done.get(key, 0) + 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(5)]
    for round_ in range(20):
        for key in range(30):
            queue.add(key)
        if round_ % 3 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while not queue.idle:
            await asyncio.sleep(0)
    assert sorted(done) == list(range(30))
    for worker in workers:
        worker.cancel()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
