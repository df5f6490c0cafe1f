"""The lease is renewed while the main loop lives, and only then."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from taskmill import constants as c
from taskmill import task
from taskmill.cli import ending
from taskmill.dev.process_table import wait_until
from taskmill.engine import constants as ec
from taskmill.engine.heartbeat import Heartbeat
from taskmill.ids import new_id
from taskmill.stores.workers.worker import Registration, register
from tests.support.engines import in_state, platform_of, submit, worker_on
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

BEAT_S = 0.1


@task("test.any")
async def anything() -> None: ...


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limit_s", "renewed"), [(ec.WORKER_LIVE_S, True), (0.5, False)], ids=["a short block", "a long one"]
)
async def test_a_blocked_loop_keeps_its_lease_for_a_bounded_time(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch, limit_s: float, renewed: bool
) -> None:
    monkeypatch.setattr(ec, "WORKER_LIVE_S", limit_s)
    async with (
        platform_of(database_url, broker_url, anything, heartbeat_s=BEAT_S) as platform,
        worker_on(platform) as engine,
    ):
        beat = engine.worker.incarnation.heartbeat
        await eventually(lambda: beat.last_sign > beat.last_renewal - 1)
        began = time.monotonic()
        time.sleep(3)  # 处理函数堵住主循环
        late = beat.last_renewal - began
        assert (late > 1.5) is renewed
        if not renewed:
            assert late < limit_s + 1.0
            await eventually(lambda: beat.last_renewal > began + 3, why="it renews again once the loop turns")


def test_a_loop_that_has_ended_gets_no_renewal(database_url: str, broker_url: str) -> None:
    """The process may live on (a thread that hangs, a coroutine that will not end): its tasks must go to others."""
    beats: list[Heartbeat] = []

    async def main() -> None:
        async with platform_of(database_url, broker_url, anything) as platform:
            worker_id = new_id()
            registration = Registration(worker_id, "host", 1, "0", ["default"], [], 1)
            await register(platform.database.pool, registration, c.LEASE_S)
            beat = Heartbeat(database_url, worker_id, lambda _: None, period_s=BEAT_S)
            began = beat.last_renewal
            beat.start()
            beats.append(beat)
            await eventually(lambda: beat.last_renewal > began)

    ending.run(main())
    (beat,) = beats
    try:
        for _ in range(2):  # 循环停下时也许正有一次续租在路上
            at, tried = beat.last_renewal, beat.last_attempt
            assert wait_until(lambda tried=tried: beat.last_attempt > tried + 2 * BEAT_S, 60)
        assert beat.last_renewal == at
    finally:
        ending.run(beat.stop())


@pytest.mark.anyio
async def test_a_renewal_without_an_answer_makes_the_idle_connections_suspect(database_url: str, broker_url: str) -> None:
    """Or the next task would wait out the limit of one statement on a connection that died while nothing was to do."""
    async with (
        Proxy(database_url) as way,
        platform_of(way.url, broker_url, anything, heartbeat_s=BEAT_S, lease_s=4, database_timeout_s=60) as platform,
        worker_on(platform) as engine,
    ):
        beat = engine.worker.incarnation.heartbeat
        first = beat.last_renewal
        await eventually(lambda: beat.last_renewal > first)
        frozen = time.monotonic()
        assert way.freeze() >= 2
        await eventually(lambda: beat.last_renewal > frozen)
        assert await asyncio.wait_for(platform.database.pool.fetchval("select 1"), 30) == 1


@pytest.mark.anyio
async def test_outcomes_that_wait_are_told_with_the_renewal(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec, "SETTLING_S", 0.1)
    async with (
        platform_of(database_url, broker_url, anything, heartbeat_s=BEAT_S) as platform,
        worker_on(platform) as engine,
    ):
        task_id = await submit(platform, "test.any", delay_s=3_600)
        await in_state(platform, task_id, "scheduled")
        engine.worker.settler.unsettled[task_id, 1] = time.monotonic()

        async def told() -> bool:
            rows = await platform.database.pool.fetch("select settling from taskmill.workers where dead_at is null")
            return [list(row["settling"]) for row in rows] == [[task_id]]

        await eventually(told)
        del engine.worker.settler.unsettled[task_id, 1]

        async def forgotten() -> bool:
            return await platform.database.pool.fetchval("select bool_and(settling = '{}') from taskmill.workers")

        await eventually(forgotten)


@pytest.mark.anyio
async def test_a_stop_does_not_wait_for_the_threads_that_handlers_have_taken(database_url: str) -> None:
    """`asyncio.to_thread` in handlers that hang fills the default pool of threads for good."""
    loop, release = asyncio.get_running_loop(), threading.Event()
    hung = [loop.run_in_executor(None, release.wait) for _ in range(64)]
    beat = Heartbeat(database_url, new_id(), lambda _: None, period_s=BEAT_S)
    beat.start()
    try:
        await asyncio.wait_for(beat.stop(), 2 * c.CONNECT_TIMEOUT_S)
    finally:
        release.set()
        await asyncio.gather(*hung)
    beat.poke()
