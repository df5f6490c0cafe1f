"""Reading from real streams: no lane is overlooked, however few places there are."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis.exceptions import ResponseError

from taskmill import constants as c
from taskmill import task
from taskmill.engine.reader import Reader
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.broker.tickets import Entry, Lane, Ticket
from tests.support.engines import finished, platform_of, stage, worker_on
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
QUEUES = ["a", "b", "c"]
LANES = [(queue, priority) for queue in QUEUES for priority in c.PRIORITIES]


@task("test.quick")
async def quick() -> None: ...


async def ready(platform: Platform) -> None:
    await platform.database.pool.execute("insert into taskmill.queues (name) select unnest($1::text[])", QUEUES)
    await stage(platform)


async def put(platform: Platform, lane: Lane, count: int) -> None:
    assert await platform.tickets.feed(*lane, [Ticket(new_id(), 0, 1) for _ in range(count)])


async def commands(platform: Platform) -> int:
    found: Any = await platform.tickets.redis.info("stats")
    return int(found["total_commands_processed"])


def total(found: dict[Lane, list[Entry]]) -> int:
    return sum(len(entries) for entries in found.values())


@pytest.mark.parametrize("lane", LANES, ids=str)
@pytest.mark.parametrize("budget", [1, 5, 100])
async def test_tickets_are_found_at_once_in_whatever_lane_they_are(
    database_url: str, broker_url: str, lane: Lane, budget: int
) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        await ready(platform)
        await put(platform, lane, 50)
        reader = Reader(platform.tickets, "me", QUEUES)
        assert total(await reader.read(budget)) == min(budget, 50)


@pytest.mark.parametrize("budget", [1, 5, 100])
async def test_a_waiting_reader_is_woken_by_every_lane(database_url: str, broker_url: str, budget: int) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        await ready(platform)
        reader = Reader(platform.tickets, "me", QUEUES)
        for lane in LANES:
            # 没被叫醒就会空手而归，不必看钟；块时须短于套接字的 5 秒
            waiting = asyncio.create_task(reader.wait(budget, 4_500))
            await eventually(lambda: _blocked(platform))
            await put(platform, lane, 1)
            assert list(await waiting) == [lane]


async def _blocked(platform: Platform) -> bool:
    return (await platform.tickets.redis.info("clients"))["blocked_clients"] > 0


async def test_a_read_takes_no_more_than_its_budget(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        await ready(platform)
        for lane in LANES:
            await put(platform, lane, 20)
        reader = Reader(platform.tickets, "me", QUEUES)
        seen = [total(await reader.read(budget)) for budget in (1, 2, 3, 7, 50, 100)]
        assert seen == [1, 2, 3, 7, 50, 100]


async def test_one_place_is_enough_to_work_off_a_backlog_without_pauses(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        await platform.submit.submit_many([SubmitRequest(kind="test.quick", priority=4)] * 60)
        async with worker_on(platform, concurrency=1):
            # 每个任务都等满一次块读要 120 秒
            await finished(platform, 60, timeout=10 * c.READ_BLOCK_MS / 1000)


async def test_streams_without_a_group_count_as_empty(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        await platform.tickets.redis.flushdb()
        reader = Reader(platform.tickets, "me", QUEUES)
        assert await reader.read(10) == {}


async def test_an_idle_reader_waits_on_without_a_look_at_every_lane(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        await ready(platform)
        reader = Reader(platform.tickets, "me", QUEUES)
        asked: list[int] = []
        for _ in range(3):
            before = await commands(platform)
            assert await reader.next(10, 10) == {}
            asked.append(await commands(platform) - before)
        assert asked[0] > len(reader.lanes)
        assert asked[1:] == [2, 2]  # 一次等待，一次 INFO
        await put(platform, LANES[-1], 5)
        assert total(await reader.next(2, 10)) == 1  # 等来的，一条道先给一张
        assert total(await reader.next(10, 10)) == 4


async def test_a_queue_that_has_no_streams_yet_does_not_slow_the_others_down(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick) as platform, worker_on(platform, queues=["default", "fresh"]):
        await asyncio.sleep(0.3)  # 让它先撞上几次没有组的流
        best = float("inf")
        for number in range(1, 6):  # 忙的机器上偶尔慢一次不算
            started = time.monotonic()
            await platform.submit.submit(SubmitRequest(kind="test.quick"))
            await finished(platform, number)
            best = min(best, time.monotonic() - started)
        assert best < 1
        await stage(platform)
        assert await platform.tickets.redis.exists("taskmill:{fresh}:tickets:1")


async def test_an_error_of_valkey_that_is_not_a_missing_group_is_not_hidden(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, quick) as platform:
        await ready(platform)
        await platform.tickets.redis.set("taskmill:{a}:tickets:1", "not a stream")
        reader = Reader(platform.tickets, "me", QUEUES)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await reader.wait(10, 100)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await reader.read(10)
