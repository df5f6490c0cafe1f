"""Submit, read, cancel, retry over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import httpx2
import pytest

from taskmill import keys
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.states import State
from tests.support.api import KIND, data, finish, make_running, refusal

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"
UNKNOWN = "01890000-0000-7000-8000-000000000000"


async def _submit(client: httpx2.AsyncClient, **fields: object) -> str:
    accepted = data(await client.post(TASKS, json={"kind": KIND, **fields}), 201)
    return str(accepted["id"])


async def _row(platform: Platform, task_id: str, table: str = "tasks") -> Any:
    return await platform.database.pool.fetchrow(f"select * from taskmill.{table} where id = $1", UUID(task_id))


async def _rollups(platform: Platform) -> dict[str, int]:
    rows = await platform.database.pool.fetch("select outcome, sum(n)::int as n from taskmill.rollups group by outcome")
    return {row["outcome"]: row["n"] for row in rows}


async def test_a_submitted_task_can_be_read(client: httpx2.AsyncClient) -> None:
    task_id = await _submit(client, args={"text": "你好", "n": 3}, tags=["a", "b"], meta={"x": 1}, priority=1)
    task = data(await client.get(f"{TASKS}/{task_id}"))
    assert (task["args"], task["tags"], task["meta"]) == ({"text": "你好", "n": 3}, ["a", "b"], {"x": 1})
    assert (task["state"], task["priority"], task["created_by"]) == ("available", 1, "key:tests")
    assert task["created_at"].endswith("Z")
    assert len(task["created_at"]) == len("2026-11-23T06:22:00.123Z")


async def test_a_batch_is_accepted_as_a_whole_or_not_at_all(client: httpx2.AsyncClient, platform: Platform) -> None:
    good = {"kind": KIND, "args": {"n": 1}}
    details = refusal(
        await client.post(f"{TASKS}/batch", json={"tasks": [good, {"kind": KIND, "args": {"n": "x"}}]}), 422, "ARGS_INVALID"
    )
    assert details["index"] == 1
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0
    batch = data(await client.post(f"{TASKS}/batch", json={"tasks": [good] * 3}), 201)
    assert [item["index"] for item in batch["items"]] == [0, 1, 2]
    assert batch["count"] == await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 3


async def test_results_of_finished_and_live_tasks(client: httpx2.AsyncClient, platform: Platform) -> None:
    done, bad, live = [await _submit(client) for _ in range(3)]
    await finish(platform, done, State.COMPLETED, result=b'{"pages": [1, 2.5, null]}')
    await finish(platform, bad, State.DISCARDED)
    assert data(await client.get(f"{TASKS}/{done}/result"))["result"] == {"pages": [1, 2.5, None]}
    answer = data(await client.get(f"{TASKS}/{bad}/result"))
    assert (answer["state"], answer["result"], answer["error"]["type"]) == ("discarded", None, "ValueError")
    assert refusal(await client.get(f"{TASKS}/{live}/result"), 409, "RESULT_NOT_READY")["state"] == "available"
    refusal(await client.get(f"{TASKS}/{UNKNOWN}/result"), 404, "TASK_NOT_FOUND")
    assert data(await client.get(f"{TASKS}/{done}"))["finished_at"] is not None


async def test_attempts_that_failed_are_listed(client: httpx2.AsyncClient, platform: Platform) -> None:
    bad, fresh = await _submit(client), await _submit(client)
    await finish(platform, bad, State.DISCARDED)
    [attempt] = data(await client.get(f"{TASKS}/{bad}/attempts"))["items"]
    assert (attempt["claim_no"], attempt["cause"], attempt["traceback"]) == (1, "error", "trace")
    assert data(await client.get(f"{TASKS}/{fresh}/attempts"))["items"] == []
    refusal(await client.get(f"{TASKS}/{UNKNOWN}/attempts"), 404, "TASK_NOT_FOUND")


@pytest.mark.parametrize("delay_s", [0, 60])
async def test_invariant_9_cancel_of_a_waiting_task_moves_it_to_history_and_counts_it(
    client: httpx2.AsyncClient, platform: Platform, delay_s: int
) -> None:
    task_id = await _submit(client, delay_s=delay_s)
    assert data(await client.post(f"{TASKS}/{task_id}/cancel")) == {
        "id": task_id,
        "state": "cancelled",
        "cancel_requested": False,
    }
    assert await _row(platform, task_id) is None
    assert (await _row(platform, task_id, "task_history"))["state"] == "cancelled"
    assert await _rollups(platform) == {"cancelled": 1}
    assert refusal(await client.post(f"{TASKS}/{task_id}/cancel"), 409, "TASK_NOT_CANCELLABLE")["state"] == "cancelled"
    refusal(await client.post(f"{TASKS}/{UNKNOWN}/cancel"), 404, "TASK_NOT_FOUND")


async def test_cancel_of_a_running_task_asks_its_worker(client: httpx2.AsyncClient, platform: Platform) -> None:
    task_id, worker = await _submit(client), new_id()
    await make_running(platform, task_id, worker)
    async with platform.tickets.redis.pubsub() as hints:
        await hints.subscribe(keys.hints(worker))
        await hints.get_message(timeout=5)
        answer = data(await client.post(f"{TASKS}/{task_id}/cancel"))
        with anyio.fail_after(60):
            while await hints.get_message(ignore_subscribe_messages=True, timeout=1) is None:
                pass
    assert answer == {"id": task_id, "state": "running", "cancel_requested": True}
    first = (await _row(platform, task_id))["cancel_requested_at"]
    assert first is not None
    data(await client.post(f"{TASKS}/{task_id}/cancel"))
    assert (await _row(platform, task_id))["cancel_requested_at"] == first
    assert await _rollups(platform) == {}


@pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELLED, State.DISCARDED])
async def test_invariant_7_a_manual_retry_reopens_a_final_task_with_fresh_budgets(
    client: httpx2.AsyncClient, platform: Platform, state: State
) -> None:
    task_id = await _submit(client, args={"n": 7}, max_attempts=3, tags=["t"])
    await finish(platform, task_id, state, result=b"1" if state is State.COMPLETED else None)
    await platform.database.pool.execute(
        "update taskmill.task_history set crash_count = 2, cancel_requested_at = now(), expires_at = now()"
    )
    assert data(await client.post(f"{TASKS}/{task_id}/retry"))["state"] == "available"
    row = await _row(platform, task_id)
    assert (row["state"], row["attempt"], row["crash_count"], row["claim_no"], row["max_attempts"]) == (
        "available",
        0,
        0,
        1,
        3,
    )
    cleared = ("ticket_at", "cancel_requested_at", "expires_at", "worker_id", "deadline_at", "started_at", "error")
    assert {name: row[name] for name in cleared} == dict.fromkeys(cleared)
    assert (row["args"], row["tags"]) == (b'{"n": 7}', ["t"])
    assert await _row(platform, task_id, "task_history") is None
    assert await _rollups(platform) == {state.value: 1, "reopened": 1}
    assert refusal(await client.post(f"{TASKS}/{task_id}/retry"), 409, "TASK_NOT_RETRYABLE")["state"] == "available"
    refusal(await client.post(f"{TASKS}/{UNKNOWN}/retry"), 404, "TASK_NOT_FOUND")


async def test_invariant_11_many_retries_at_once_reopen_it_once(client: httpx2.AsyncClient, platform: Platform) -> None:
    task_id = await _submit(client)
    await finish(platform, task_id, State.COMPLETED)
    statuses: list[int] = []

    async def retry() -> None:
        statuses.append((await client.post(f"{TASKS}/{task_id}/retry")).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(retry)
    assert sorted(statuses) == [200] + [409] * 7
    assert await _rollups(platform) == {"completed": 1, "reopened": 1}


async def test_many_cancels_and_retries_at_once_lose_nothing(client: httpx2.AsyncClient, platform: Platform) -> None:
    task_id = await _submit(client)

    async def act(verb: str) -> None:
        assert (await client.post(f"{TASKS}/{task_id}/{verb}")).status_code in {200, 409}

    async with anyio.create_task_group() as group:
        for verb in ["cancel", "retry"] * 10:
            group.start_soon(act, verb)
    counts = await _rollups(platform)
    live = await _row(platform, task_id)
    assert counts.get("cancelled", 0) - counts.get("reopened", 0) == (1 if live is None else 0)
    assert (live is None) != (await _row(platform, task_id, "task_history") is None)


async def test_the_list_filters_live_and_finished_tasks(client: httpx2.AsyncClient, platform: Platform) -> None:
    first = await _submit(client, queue="a", tags=["x", "y"])
    second = await _submit(client, queue="b", delay_s=60)
    third = await _submit(client, queue="a")
    await finish(platform, third, State.COMPLETED)
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    for query, expected in [
        ({}, [third, second, first]),
        ({"queue": "a"}, [third, first]),
        ({"state": "available"}, [first]),
        ({"state": "completed,scheduled"}, [third, second]),
        ({"state": "running"}, []),
        ({"kind": KIND}, [third, second, first]),
        ({"kind": "other.kind"}, []),
        ({"queue": "null"}, []),
        ({"tag": "y"}, [first]),
        ({"schedule_id": UNKNOWN}, []),
        ({"created_after": soon}, []),
        ({"created_before": soon, "queue": "b"}, [second]),
        ({"created_after": "1970-01-01T00:00:00Z", "state": "completed"}, [third]),
        ({"finished_after": "1970-01-01T00:00:00Z"}, [third]),
        ({"finished_before": soon, "queue": "a"}, [third]),
        ({"finished_after": soon}, []),
        ({"finished_after": "1970-01-01T00:00:00Z", "state": "available"}, []),
        ({"started_before": soon}, [third]),
        ({"started_after": soon}, []),
    ]:
        page = data(await client.get(TASKS, params=query))
        assert ([item["id"] for item in page["items"]], page["total"]) == (expected, len(expected)), query
        assert not page["total_capped"]
        assert all("args" not in item for item in page["items"])


async def test_pages_and_cursors_walk_the_same_list(client: httpx2.AsyncClient, platform: Platform) -> None:
    ids = [await _submit(client) for _ in range(7)]
    for task_id in ids[1:4]:
        await finish(platform, task_id, State.COMPLETED)
    expected = ids[::-1]
    by_page = [
        item["id"]
        for page in (1, 2, 3, 4)
        for item in data(await client.get(TASKS, params={"page": page, "page_size": 2}))["items"]
    ]
    by_cursor: list[str] = []
    answer = data(await client.get(TASKS, params={"page_size": 3}))
    assert (answer["total"], answer["page"], answer["page_size"]) == (7, 1, 3)
    while True:
        by_cursor += [item["id"] for item in answer["items"]]
        if answer["next_cursor"] is None:
            break
        answer = data(await client.get(TASKS, params={"page_size": 3, "cursor": answer["next_cursor"]}))
        assert (answer["total"], answer["page"]) == (None, None)
    assert by_page == by_cursor == expected
    beyond = data(await client.get(TASKS, params={"page": 9}))
    assert (beyond["items"], beyond["total"], beyond["next_cursor"]) == ([], 7, None)


async def test_totals_stop_at_ten_thousand(client: httpx2.AsyncClient, platform: Platform) -> None:
    await platform.database.pool.execute(
        "insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms) "
        "select gen_random_uuid(), 'many', 'a.b', 'available', '{}'::jsonb, 1 from generate_series(1, 10001)"
    )
    page = data(await client.get(TASKS))
    assert (page["total"], page["total_capped"]) == (10_000, True)
    data(await client.get(TASKS, params={"page": 100, "page_size": 100}))
    assert (
        refusal(await client.get(TASKS, params={"page": 101, "page_size": 100}), 422, "INVALID_REQUEST")["field"] == "page"
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=x", "page"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("state=done", "state"),
        ("state=", "state"),
        ("colour=red", "colour"),
        ("queue=a&queue=b", "queue"),
        ("queue=", "queue"),
        ("queue=%00", "queue"),
        ("kind=" + "k" * 101, "kind"),
        ("schedule_id=7", "schedule_id"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("cursor=abc", "cursor"),
        ("schedule_id=null", "schedule_id"),
        ("cursor=null", "cursor"),
        ("created_after=0.5", "created_after"),
        ("page=1.0", "page"),
        ("page=" + "9" * 5000, "page"),
        (f"cursor={UNKNOWN}&page=2", "page"),
    ],
)
async def test_wrong_queries_name_the_parameter(client: httpx2.AsyncClient, query: str, field: str) -> None:
    details = refusal(await client.get(f"{TASKS}?{query}"), 422, "INVALID_REQUEST")
    assert details["field"] == field
    assert details["reason"]


async def test_an_id_that_is_none_is_named(client: httpx2.AsyncClient) -> None:
    assert refusal(await client.get(f"{TASKS}/not-a-uuid"), 422, "INVALID_REQUEST")["field"] == "task_id"
    refusal(await client.get(f"{TASKS}/{UNKNOWN}"), 404, "TASK_NOT_FOUND")
