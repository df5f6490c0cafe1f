"""`Idempotency-Key`: the same request again gets the same answer and does nothing, another request with the key is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from taskmill.services.platform import Platform
from taskmill.stores import idempotency
from tests.support import api
from tests.support.api import KIND, data, refusal

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"
KEY = {"Idempotency-Key": "order-17"}
TASK = {"kind": KIND, "args": {"text": "a"}}


async def rows(platform: Platform) -> int:
    return int(await platform.database.pool.fetchval("select count(*) from taskmill.tasks"))


async def test_the_same_submit_again_gets_the_same_answer_and_makes_no_second_task(
    client: httpx2.AsyncClient, platform: Platform
) -> None:
    first = await client.post(TASKS, json=TASK, headers=KEY)
    again = await client.post(TASKS, json=TASK, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert data(first, 201) == data(again, 201)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await rows(platform) == 1
    assert 'taskmill_tasks_submitted_total{queue="default"} 1.0' in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("path", "body"),
    [(TASKS, {**TASK, "priority": 1}), (TASKS, {"kind": KIND}), (f"{TASKS}/batch", {"tasks": [TASK]})],
    ids=["another task", "fewer args", "another path"],
)
async def test_another_request_with_the_key_is_409_and_does_nothing(
    client: httpx2.AsyncClient, platform: Platform, path: str, body: dict[str, Any]
) -> None:
    await client.post(TASKS, json=TASK, headers=KEY)
    assert refusal(await client.post(path, json=body, headers=KEY), 409, "IDEMPOTENCY_CONFLICT") == {"key": "order-17"}
    assert await rows(platform) == 1


async def test_the_same_batch_again_gets_the_same_answer(client: httpx2.AsyncClient, platform: Platform) -> None:
    batch = {"tasks": [TASK, {**TASK, "unique": {}}, {**TASK, "unique": {}}]}
    first = await client.post(f"{TASKS}/batch", json=batch, headers=KEY)
    again = await client.post(f"{TASKS}/batch", json=batch, headers=KEY)
    assert data(first, 201) == data(again, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert await rows(platform) == 2


async def test_a_replacing_duplicate_is_not_replaced_again(client: httpx2.AsyncClient, platform: Platform) -> None:
    await client.post(TASKS, json={**TASK, "unique": {"by": []}})
    change = {"kind": KIND, "args": {"text": "b"}, "unique": {"by": [], "on_duplicate": "replace"}}
    first = await client.post(TASKS, json=change, headers=KEY)
    await client.post(TASKS, json={**change, "args": {"text": "c"}})
    again = await client.post(TASKS, json=change, headers=KEY)
    assert (first.status_code, again.status_code) == (200, 200)
    assert data(first) == data(again)
    assert b'"c"' in await platform.database.pool.fetchval("select args from taskmill.tasks")


async def test_an_error_is_not_kept(client: httpx2.AsyncClient, platform: Platform) -> None:
    refusal(await client.post(TASKS, json={"kind": "no.such"}, headers=KEY), 422, "KIND_NOT_FOUND")
    data(await client.post(TASKS, json=TASK, headers=KEY), 201)
    taken = {**TASK, "unique": {"key": "k", "on_duplicate": "refuse"}}
    await client.post(TASKS, json={**TASK, "unique_key": "k"})
    for _ in range(2):
        refusal(await client.post(TASKS, json=taken, headers={"Idempotency-Key": "other"}), 409, "UNIQUE_TAKEN")
    assert await rows(platform) == 2


async def test_40_at_once_make_one_task(database_url: str, broker_url: str) -> None:
    async with (
        api.opened(database_url, broker_url) as one,
        api.opened(database_url, broker_url) as two,
        api.api(one) as first,
    ):
        async with api.client(api.create_app(two), first.headers["authorization"].split(" ")[1]) as second:
            answers = await asyncio.gather(
                *(each.post(TASKS, json=TASK, headers=KEY) for each in (first, second) for _ in range(20))
            )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["data"]["id"] for answer in answers}) == 1
        assert await rows(one) == 1


async def test_40_batches_at_once_make_one_batch(client: httpx2.AsyncClient, platform: Platform) -> None:
    batch = {"tasks": [TASK] * 3}
    answers = await asyncio.gather(*(client.post(f"{TASKS}/batch", json=batch, headers=KEY) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["data"]["items"][0]["id"] for answer in answers}) == 1
    assert await rows(platform) == 3


async def test_keys_of_two_clients_have_nothing_to_do_with_each_other(
    client: httpx2.AsyncClient, platform: Platform
) -> None:
    await client.post(TASKS, json=TASK, headers=KEY)
    other = await platform.keys.create("others")
    async with api.client(api.create_app(platform), other.secret) as second:
        answer = await second.post(TASKS, json=TASK, headers=KEY)
    assert "idempotency-replayed" not in answer.headers
    assert await rows(platform) == 2


async def test_after_a_day_the_key_is_free_and_the_answer_is_pruned(client: httpx2.AsyncClient, platform: Platform) -> None:
    first = await client.post(TASKS, json=TASK, headers=KEY)
    await platform.database.pool.execute("update taskmill.idempotency_keys set created_at = now() - interval '24 hours'")
    again = await client.post(TASKS, json={**TASK, "priority": 1}, headers=KEY)
    assert data(first, 201)["id"] != data(again, 201)["id"]
    await platform.database.pool.execute("update taskmill.idempotency_keys set created_at = now() - interval '24 hours'")
    assert await idempotency.prune(platform.database.pool, 10) == 1


async def test_every_other_post_answers_the_same_and_a_schedule_runs_once(
    client: httpx2.AsyncClient, platform: Platform
) -> None:
    task = data(await client.post(TASKS, json={**TASK, "queue": "q"}), 201)["id"]
    schedule = {"name": "hourly", "kind": KIND, "interval_s": 3600}
    for number, (path, body, status) in enumerate(
        [
            (f"{TASKS}/{task}/cancel", None, 200),
            (f"{TASKS}/{task}/retry", None, 200),
            ("/api/v1/queues/q/pause", None, 200),
            ("/api/v1/queues/q/resume", None, 200),
            ("/api/v1/schedules", schedule, 201),
            ("/api/v1/schedules/hourly/pause", None, 200),
            ("/api/v1/schedules/hourly/resume", None, 200),
            ("/api/v1/schedules/hourly/run", None, 201),
        ]
    ):
        headers = {"Idempotency-Key": f"key {number}"}
        first = await client.post(path, json=body, headers=headers)
        again = await client.post(path, json=body, headers=headers)
        assert (first.status_code, again.status_code) == (status, status), path
        assert first.json()["data"] == again.json()["data"], path
        assert again.headers["idempotency-replayed"] == "true", path
    assert await rows(platform) == 2


@pytest.mark.parametrize("key", ["", "k" * 201, "a\tb", "é"])
async def test_a_key_that_is_none_is_named(client: httpx2.AsyncClient, platform: Platform, key: str) -> None:
    answer = await client.post(TASKS, json=TASK, headers={"Idempotency-Key": key.encode("latin-1")})
    assert refusal(answer, 422, "INVALID_REQUEST")["field"] == "Idempotency-Key"
    assert await rows(platform) == 0
