"""Limits over HTTP: set, shown, refused field by field; a full backlog is 429; a held task says why."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from taskmill.services.platform import Platform
from tests.support.api import KIND, data, refusal
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
TASKS, QUEUE = "/api/v1/tasks", "/api/v1/queues/q"


async def submit(client: httpx2.AsyncClient, **options: Any) -> str:
    return data(await client.post(TASKS, json={"kind": KIND, "queue": "q", **options}), 201)["id"]


async def quiet(platform: Platform) -> None:
    while platform.promoter.under_way:
        await asyncio.wait(platform.promoter.under_way)


async def test_limits_are_set_shown_and_taken_away_and_what_is_left_out_stays(client: httpx2.AsyncClient) -> None:
    limits = {"max_running": 5, "max_running_per_key": 2, "rate": {"limit": 10, "period_s": 60}, "max_backlog": 100}
    made = data(await client.put(QUEUE, json=limits))
    assert {name: made[name] for name in limits} == limits | {"rate": {"limit": 10, "period_s": 60.0, "burst": 10}}
    made = data(await client.put(QUEUE, json={"max_running": None}))
    assert (made["max_running"], made["max_running_per_key"]) == (None, 2)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_running": 0}, "max_running"),
        ({"max_running": 1.5}, "max_running"),
        ({"max_running_per_key": -1}, "max_running_per_key"),
        ({"max_backlog": 0}, "max_backlog"),
        ({"rate": {"limit": 10}}, "rate.period_s"),
        ({"rate": {"limit": 10, "period_s": 0}}, "rate.period_s"),
        ({"rate": {"limit": 0, "period_s": 1}}, "rate.limit"),
        ({"rate": {"limit": 1, "period_s": 1, "colour": 1}}, "rate.colour"),
        ({"rate": 5}, "rate"),
        ({"rate_per_key": {"limit": 1, "period_s": 1, "burst": 0}}, "rate_per_key.burst"),
    ],
    ids=str,
)
async def test_a_limit_that_cannot_be_is_named_and_nothing_is_set(
    client: httpx2.AsyncClient, change: dict[str, Any], field: str
) -> None:
    assert refusal(await client.put(QUEUE, json=change), 422, "INVALID_REQUEST")["field"] == field
    refusal(await client.get(QUEUE), 404, "QUEUE_NOT_FOUND")


async def test_a_full_backlog_is_429_with_the_numbers(client: httpx2.AsyncClient) -> None:
    await client.put(QUEUE, json={"max_backlog": 1})
    await submit(client)
    answer = await client.post(TASKS, json={"kind": KIND, "queue": "q"})
    assert refusal(answer, 429, "QUEUE_FULL") == {"queue": "q", "limit": 1, "waiting": 1}
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("limits", "code", "words"),
    [
        ({"max_running": 1}, "QUEUE_AT_LIMIT", "1 tasks of the queue q run (limit 1), 0 are before it"),
        (
            {"max_running_per_key": 1},
            "KEY_AT_LIMIT",
            "1 tasks of the key k have their turn in the queue q (limit 1), 0 are before it",
        ),
        (
            {"rate": {"limit": 1, "period_s": 3600}},
            "RATE_AT_LIMIT",
            "the queue q starts 1 tasks in 3600 s at most, 0 are before it; the bucket fills once those that were let go have begun",
        ),
        (
            {"rate_per_key": {"limit": 1, "period_s": 3600}},
            "KEY_RATE_AT_LIMIT",
            "the queue q starts 1 tasks of the key k in 3600 s at most, 0 are before it; the bucket fills once those that were let go have begun",
        ),
    ],
)
async def test_a_held_task_says_what_holds_it(
    client: httpx2.AsyncClient, platform: Platform, limits: dict[str, Any], code: str, words: str
) -> None:
    await client.put(QUEUE, json=limits)
    first, second = [await submit(client, concurrency_key="k") for _ in range(2)]
    await quiet(platform)
    shown = {each: data(await client.get(f"{TASKS}/{each}"))["waiting"] for each in (first, second)}
    assert {reason["code"]: reason["message"]["en"] for reason in shown[second]}[code] == words
    assert code not in {reason["code"] for reason in shown[first]}

    async def counted() -> bool:
        scaling = data(await client.get("/api/v1/scaling/q"))
        return (scaling["ready"], scaling["runnable"]) == (2, 1)

    await eventually(counted)  # 忙的机器上，刚数过的数会再用一会儿


@pytest.mark.parametrize("key", ["", "k" * 201, "a\x00", 7])
async def test_a_key_that_cannot_be_is_named(client: httpx2.AsyncClient, key: Any) -> None:
    answer = await client.post(TASKS, json={"kind": KIND, "concurrency_key": key})
    assert refusal(answer, 422, "INVALID_REQUEST")["field"] == "concurrency_key"
