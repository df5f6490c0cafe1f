"""Batches over HTTP: all or none, the culprit by its index, and nothing decoded that need not be."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import asyncpg
import httpx2
import pytest

from taskmill import constants as c
from taskmill.api import constants as ac
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from tests.support import api
from tests.support.api import KIND, data, refusal
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
BATCH = "/api/v1/tasks/batch"
JSON = {"Content-Type": "application/json"}
GOOD = {"kind": KIND}
TASK_RAW_MAX = ac.TASK_RAW_FACTOR * (c.ARGS_MAX_BYTES + c.META_MAX_BYTES) + ac.TASK_RAW_REST


async def stored(platform: Platform) -> int:
    return int(await platform.database.pool.fetchval("select count(*) from taskmill.tasks"))


@pytest.mark.parametrize(
    ("tasks", "status", "code", "details"),
    [
        ([GOOD, GOOD, GOOD | {"priority": "1"}, GOOD], 422, "INVALID_REQUEST", {"index": 2, "field": "tasks[2].priority"}),
        ([GOOD, GOOD, GOOD | {"priority": 9}, GOOD], 422, "INVALID_REQUEST", {"index": 2, "field": "priority"}),
        ([GOOD, GOOD, GOOD | {"colour": 1}], 422, "INVALID_REQUEST", {"index": 2, "field": "tasks[2].colour"}),
        ([GOOD, GOOD, {}], 422, "INVALID_REQUEST", {"index": 2, "field": "tasks[2].kind"}),
        ([GOOD, GOOD, 7], 422, "INVALID_REQUEST", {"index": 2, "field": "tasks[2]"}),
        ([GOOD, GOOD, {"kind": "no.such"}], 422, "KIND_NOT_FOUND", {"index": 2}),
        ([GOOD, GOOD, GOOD | {"args": {"n": "x"}}], 422, "ARGS_INVALID", {"index": 2}),
        ([GOOD, GOOD, GOOD | {"args": {"text": "x" * c.ARGS_MAX_BYTES}}], 413, "ARGS_TOO_LARGE", {"index": 2}),
        ([GOOD, GOOD, GOOD | {"args": {"text": "x" * TASK_RAW_MAX}}], 413, "ARGS_TOO_LARGE", {"index": 2}),
        ([GOOD, GOOD | {"priority": 9}, GOOD | {"priority": "1"}], 422, "INVALID_REQUEST", {"index": 1}),
        ([GOOD, GOOD | {"priority": "1"}, GOOD | {"priority": 9}], 422, "INVALID_REQUEST", {"index": 1}),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_the_first_bad_task_is_named_by_its_index_and_nothing_is_stored(
    client: httpx2.AsyncClient, platform: Platform, tasks: list[Any], status: int, code: str, details: dict[str, Any]
) -> None:
    found = refusal(await client.post(BATCH, json={"tasks": tasks}), status, code)
    assert {name: found.get(name) for name in details} == details
    assert await stored(platform) == 0


async def test_a_batch_that_is_too_long_is_refused_before_a_task_is_looked_at(database_url: str, broker_url: str) -> None:
    async with api.opened(database_url, broker_url, batch_max_tasks=3) as platform, api.api(platform) as client:
        answer = await client.post(BATCH, json={"tasks": [{"kind": 7, "colour": 1}] * 4})
        assert refusal(answer, 413, "BATCH_TOO_LARGE") == {"limit": 3, "size": 4}
        assert len(data(await client.post(BATCH, json={"tasks": [GOOD] * 3}), 201)["items"]) == 3


async def test_largest_args_are_taken_even_if_each_character_is_escaped(
    client: httpx2.AsyncClient, platform: Platform
) -> None:
    count = c.ARGS_MAX_BYTES - len('{"text":""}')
    task = b'{"kind":"%s","args":{"text":"%s"}}' % (KIND.encode(), rb"\u0061" * count)
    done = data(await client.post(BATCH, content=b'{"tasks":[%s,%s]}' % (task, task), headers=JSON), 201)
    assert [item["index"] for item in done["items"]] == [0, 1]
    assert await stored(platform) == 2
    task = task.replace(rb'"text":"', rb'"text":"x')
    refusal(await client.post(BATCH, content=b'{"tasks":[%s]}' % task, headers=JSON), 413, "ARGS_TOO_LARGE")


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_schedule_whose_args_cannot_fit_is_not_decoded(client: httpx2.AsyncClient, method: str) -> None:
    raw = b'{"name":"s","kind":"%s","interval_s":60,"args":{"text":[%s0]}}' % (KIND.encode(), b"[]," * (TASK_RAW_MAX // 3))
    path = "/api/v1/schedules" + ("/s" if method == "PUT" else "")
    details = refusal(await client.request(method, path, content=raw, headers=JSON), 413, "ARGS_TOO_LARGE")
    assert details == {"field": "args", "size": len(raw), "limit": c.ARGS_MAX_BYTES}


async def test_a_submit_that_waits_for_its_commit_holds_no_decoded_args(
    client: httpx2.AsyncClient, platform: Platform, database_url: str
) -> None:
    def alive() -> int:
        return sum(isinstance(each, SubmitRequest) for each in gc.get_objects())

    data(await client.post("/api/v1/tasks", json=GOOD), 201)
    before = alive()
    locker = await asyncpg.connect(database_url)
    try:
        async with locker.transaction():
            await locker.execute("lock table taskmill.tasks in exclusive mode")
            waiting = asyncio.create_task(client.post("/api/v1/tasks", json=GOOD | {"args": {"text": "a"}}))
            # 前一个任务的票送不出去时，它的补记也会等这把锁：要看的是后一个的插入
            blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~* 'insert into taskmill.tasks'"

            async def stuck() -> bool:
                return await platform.database.pool.fetchval(blocked) == 1  # 事务里看到的是第一次看时的样子

            await eventually(stuck)
            assert alive() == before
        data(await waiting, 201)
    finally:
        await locker.close()
    assert await stored(platform) == 2
