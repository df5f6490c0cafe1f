"""A limit counts a handler until it has really ended: a thread that outlives its timeout, a coroutine that swallows its cancel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from taskmill import RetryPolicy, task
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.engine import constants as ec
from taskmill.engine.settler import Settler
from taskmill.services.platform import Platform
from tests.support.engines import attempts, final, in_state, live, platform_of, staged, submit, worker_on
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
TIMEOUT_S = 0.2


@dataclass
class Gate:
    """How many handlers are in at once; they leave when it opens, whatever asks them to end."""

    open: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    inside: int = 0
    most: int = 0
    passed: int = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                self.passed += 1


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
async def platform(database_url: str, broker_url: str, gate: Gate) -> AsyncIterator[Platform]:
    @task("hang.thread", retry=RetryPolicy(max_attempts=1))
    def thread() -> None:
        with gate.enter():
            gate.open.wait(60)

    @task("hang.coroutine", retry=RetryPolicy(max_attempts=1))
    async def coroutine() -> None:
        with gate.enter():
            while not gate.open.is_set():
                try:
                    await asyncio.sleep(0.02)
                except asyncio.CancelledError:
                    continue

    async with platform_of(database_url, broker_url, thread, coroutine) as made, staged(made):
        await made.queues.put("default", QueuePolicyChange(max_running=1))
        yield made


@pytest.mark.parametrize("kind", ["hang.thread", "hang.coroutine"])
async def test_the_slot_of_a_handler_that_hangs_is_free_when_it_has_really_ended(
    platform: Platform, gate: Gate, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec, "STUBBORN_S", TIMEOUT_S)
    async with worker_on(platform) as engine:
        first = await submit(platform, kind, timeout_s=TIMEOUT_S)
        second = await submit(platform, kind)
        await in_state(platform, first, "running")
        await eventually(lambda: _held(engine.worker.settler, first), why="its outcome is held")
        rows = [await live(platform, each) for each in (first, second)]
        assert [row and row["state"] for row in rows] == ["running", "available"]
        assert (gate.most, gate.passed) == (1, 0)
        assert engine.worker.settler.backlog == 0  # 留着的不算积压，别的任务照常领取
        gate.open.set()
        assert (await final(platform, first))["state"] == "discarded"
        assert (await final(platform, second))["state"] == "completed"
    assert gate.most == 1
    assert [row["cause"] for row in await attempts(platform, first)] == ["timeout"]


async def test_what_is_held_is_told_so_that_no_rescuer_takes_it(platform: Platform, gate: Gate) -> None:
    """Its deadline is long over and its worker lives: taken from it, its slot would go to a second one that runs beside it."""
    async with worker_on(platform) as engine:
        first = await submit(platform, "hang.thread", timeout_s=TIMEOUT_S)
        await eventually(lambda: _held(engine.worker.settler, first), why="its outcome is held")

        async def told() -> bool:
            engine.worker.incarnation.heartbeat.poke()
            return bool(
                await platform.database.pool.fetchval("select bool_or($1 = any (settling)) from taskmill.workers", first)
            )

        await eventually(told, why="the worker tells it")
        gate.open.set()
        await final(platform, first)


async def test_a_worker_that_stops_writes_what_it_held(platform: Platform, gate: Gate) -> None:
    async with worker_on(platform) as engine:
        first = await submit(platform, "hang.thread", timeout_s=TIMEOUT_S)
        await eventually(lambda: _held(engine.worker.settler, first), why="its outcome is held")
        await engine.halt()
        assert (await final(platform, first))["state"] == "discarded"
    assert gate.inside == 1


async def test_without_a_limit_nothing_is_held(platform: Platform, gate: Gate) -> None:
    await platform.queues.put("default", QueuePolicyChange(max_running=None))
    async with worker_on(platform):
        first = await submit(platform, "hang.thread", timeout_s=TIMEOUT_S)
        assert (await final(platform, first))["state"] == "discarded"
        assert gate.inside == 1


async def _held(settler: Settler, task_id: UUID) -> bool:
    return any(held == task_id for held, _ in settler.held)
