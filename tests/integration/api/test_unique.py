"""Unique tasks over HTTP: 201 for the first, 200 for its duplicates, 409 for who wants to be refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from taskmill.services.platform import Platform
from tests.support.api import KIND, data, refusal

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"


def wanted(**options: Any) -> dict[str, Any]:
    return {"kind": KIND, "args": {"text": "a"}, **options}


async def test_a_duplicate_is_answered_with_200_and_the_task_that_is_there(client: httpx2.AsyncClient) -> None:
    first = await client.post(TASKS, json=wanted(unique={}))
    again = await client.post(TASKS, json=wanted(unique={}))
    assert (first.status_code, again.status_code) == (201, 200)
    one, two = data(first, 201), data(again)
    assert (one["duplicate"], two["duplicate"], two["replaced"]) == (False, True, False)
    assert {name: two[name] for name in ("id", "state", "run_at")} == {name: one[name] for name in ("id", "state", "run_at")}


async def test_a_refused_duplicate_is_409_and_names_the_task(client: httpx2.AsyncClient) -> None:
    first = data(await client.post(TASKS, json=wanted(unique_key="order-17")), 201)
    answer = await client.post(TASKS, json=wanted(unique={"key": "order-17", "on_duplicate": "refuse"}))
    assert refusal(answer, 409, "UNIQUE_TAKEN") == {"key": "order-17", "id": first["id"]}


async def test_a_batch_says_which_are_duplicates_and_counts_only_the_others(
    client: httpx2.AsyncClient, platform: Platform
) -> None:
    answer = await client.post(f"{TASKS}/batch", json={"tasks": [wanted(unique={}), wanted(unique={}), wanted()]})
    assert [item["duplicate"] for item in data(answer, 201)["items"]] == [False, True, False]
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 2
    assert 'taskmill_tasks_submitted_total{queue="default"} 2.0' in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"unique": {"while": "ever"}}, "unique.while"),
        ({"unique": {"on_duplicate": "hope"}}, "unique.on_duplicate"),
        ({"unique": {"by": ["text", "colour"]}}, "unique.by[1]"),
        ({"unique": {"by": "text"}}, "unique.by"),
        ({"unique": {"colour": 1}}, "unique.colour"),
        ({"unique": {}, "unique_key": "k"}, "unique_key"),
        ({"unique_key": "k" * 201}, "unique_key"),
        ({"unique_key": 7}, "unique_key"),
    ],
    ids=str,
)
async def test_what_does_not_fit_is_named(client: httpx2.AsyncClient, options: dict[str, Any], field: str) -> None:
    assert refusal(await client.post(TASKS, json=wanted(**options)), 422, "INVALID_REQUEST")["field"] == field


async def test_a_retry_whose_key_is_taken_is_409(client: httpx2.AsyncClient) -> None:
    first = data(await client.post(TASKS, json=wanted(unique={})), 201)
    await client.post(f"{TASKS}/{first['id']}/cancel")
    second = data(await client.post(TASKS, json=wanted(unique={})), 201)
    refused = refusal(await client.post(f"{TASKS}/{first['id']}/retry"), 409, "UNIQUE_TAKEN")
    assert refused["id"] == second["id"]


async def test_null_switches_the_key_of_a_kind_off_and_the_detail_shows_a_key(client: httpx2.AsyncClient) -> None:
    first = data(await client.post(TASKS, json=wanted(unique_key="k")), 201)
    assert data(await client.post(TASKS, json=wanted(unique=None)), 201)["duplicate"] is False
    assert data(await client.get(f"{TASKS}/{first['id']}"))["unique_key"] == "k"
