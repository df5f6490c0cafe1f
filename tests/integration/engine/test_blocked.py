"""A handler that keeps the event loop for itself is named and charged; what runs beside it is not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from taskmill import RetryPolicy, task
from taskmill.dev.process_table import wait_until
from taskmill.engine import constants as ec
from taskmill.engine.heartbeat import Heartbeat
from tests.support.engines import attempts, final, platform_of, staged, submit, worker_on
from tests.support.waiting import TIMEOUT_S

pytestmark = pytest.mark.anyio
BEAT_S, LIVE_S, LEASE_S = 0.1, 0.5, 6.0
DEAD = "select count(*) from taskmill.workers where death = 'event loop blocked'"


@contextmanager
def released_once(database_url: str, sql: str, wanted: int) -> Iterator[threading.Event]:
    """An event that is set when `sql` says so many; watched from a thread, since the loop of the test stands still."""
    release, over = threading.Event(), threading.Event()

    async def look() -> None:
        connection = await asyncpg.connect(database_url)
        try:
            while not over.is_set() and await connection.fetchval(sql) != wanted:
                await asyncio.sleep(0.05)
        finally:
            await connection.close()
            release.set()

    thread = threading.Thread(target=lambda: asyncio.run(look()))
    thread.start()
    try:
        yield release
    finally:
        over.set()
        thread.join()


async def test_the_one_that_blocks_has_failed_and_the_others_are_given_back(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec, "WORKER_LIVE_S", LIVE_S)
    calm_may_end, calm_runs = asyncio.Event(), asyncio.Event()

    with released_once(database_url, DEAD, 1) as released:

        @task("test.block", retry=RetryPolicy(max_attempts=1))
        async def block() -> None:
            released.wait(TIMEOUT_S)

        @task("test.calm")
        async def calm() -> None:
            calm_runs.set()
            await calm_may_end.wait()

        settings = {"heartbeat_s": BEAT_S, "lease_s": LEASE_S}
        async with platform_of(database_url, broker_url, block, calm, **settings) as platform, staged(platform):
            async with worker_on(platform):
                beside = await submit(platform, "test.calm")
                await asyncio.wait_for(calm_runs.wait(), TIMEOUT_S)
                blocking = await submit(platform, "test.block")
                row = await final(platform, blocking)
                calm_may_end.set()
                assert (await final(platform, beside))["state"] == "completed"
            assert (row["state"], row["crash_count"]) == ("discarded", 0)
            (failure,) = await attempts(platform, blocking)
            assert (failure["cause"], failure["error_type"]) == ("timeout", "LoopBlockedError")
            assert "test_blocked.py:" in failure["message"]
            assert "released.wait(TIMEOUT_S)" in failure["traceback"]
            assert "taskmill/engine" not in failure["traceback"]
            (given_back,) = await attempts(platform, beside)
            assert (given_back["cause"], given_back["message"]) == (
                "drain",
                "another task blocked the event loop of its worker",
            )
            assert (await final(platform, beside))["crash_count"] == 0


async def test_a_loop_that_answers_before_it_is_asked_again_charges_nobody(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first beat after a freeze of the whole process comes before the loop could say that it lives."""
    monkeypatch.setattr(ec, "WORKER_LIVE_S", LIVE_S)
    blocks, release = threading.Event(), threading.Event()

    @task("test.block", retry=RetryPolicy(max_attempts=1))
    async def block() -> None:
        blocks.set()
        release.wait(TIMEOUT_S)

    def beat_once(beat: Heartbeat) -> None:
        blocks.wait(TIMEOUT_S)
        assert wait_until(lambda: time.monotonic() - beat.last_sign > LIVE_S, TIMEOUT_S)
        tried = beat.last_attempt
        beat.poke()
        assert wait_until(lambda: beat.last_attempt > tried, TIMEOUT_S)
        release.set()

    settings = {"heartbeat_s": 20.0, "lease_s": 60.0}  # 心跳只在叫它的时候来
    async with (
        platform_of(database_url, broker_url, block, **settings) as platform,
        staged(platform),
        worker_on(platform) as engine,
    ):
        watching = threading.Thread(target=beat_once, args=(engine.worker.incarnation.heartbeat,))
        watching.start()
        try:
            assert (await final(platform, await submit(platform, "test.block")))["state"] == "completed"
        finally:
            release.set()
            watching.join()
