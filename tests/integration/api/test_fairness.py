"""Fairness keys over HTTP: submitted, shown, why one waits, and what counts as runnable."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from taskmill.services.platform import Platform
from taskmill.stores.tasks.turns import Window
from tests.support.api import KIND, data, refusal
from tests.support.turns import quiet
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
TASKS, QUEUE = "/api/v1/tasks", "/api/v1/queues/q"


async def submit(client: httpx2.AsyncClient, key: str) -> str:
    wanted = {"kind": KIND, "args": {"text": "a"}, "queue": "q", "fairness_key": key}
    return data(await client.post(TASKS, json=wanted), 201)["id"]


async def scaling(client: httpx2.AsyncClient, ready: int, runnable: int) -> None:
    async def counted() -> bool:
        found = data(await client.get("/api/v1/scaling/q"))
        return (found["ready"], found["runnable"]) == (ready, runnable)

    await eventually(counted)


async def test_one_that_waits_for_its_turn_says_how_many_keys_come_before(
    client: httpx2.AsyncClient, platform: Platform
) -> None:
    platform.promoter.window = Window(4)
    for key in "aaaa":
        await submit(client, key)
        await quiet(platform.promoter)
    held = [await submit(client, key) for key in "aabc"]
    await quiet(platform.promoter)
    shown = data(await client.get(f"{TASKS}/{held[2]}"))
    assert (shown["fairness_key"], shown["state"]) == ("b", "available")
    words = {reason["code"]: reason["message"]["en"] for reason in shown["waiting"]}
    assert words["KEYS_TAKE_TURNS"] == (
        "fairness keys take turns in the queue q: 0 keys come before b, and 0 tasks of the same key"
    )
    last = {reason["code"]: reason["message"]["en"] for reason in data(await client.get(f"{TASKS}/{held[1]}"))["waiting"]}
    assert "2 keys come before a, and 1 tasks of the same key" in last["KEYS_TAKE_TURNS"]
    assert "NO_SCHEDULER" not in last


async def test_what_waits_for_its_turn_is_runnable_unless_the_queue_is_at_its_limit(
    client: httpx2.AsyncClient, platform: Platform
) -> None:
    platform.promoter.window = Window(4)
    ids = [await submit(client, key) for key in "aaaaaabb"]
    await quiet(platform.promoter)
    await scaling(client, 8, 8)
    assert data(await client.put(f"{QUEUE}?dry_run=true", json={"max_running": 1}))["preview"]["held"] == 4
    await client.put(QUEUE, json={"max_running": 1})
    await quiet(platform.promoter)
    await scaling(client, 8, 1)
    told = {each["code"] for each in data(await client.get(f"{TASKS}/{ids[5]}"))["waiting"]}
    assert {"KEYS_TAKE_TURNS", "QUEUE_AT_LIMIT"} <= told


@pytest.mark.parametrize("key", ["", "k" * 201, "a\x00", 7])
async def test_a_key_that_cannot_be_is_named(client: httpx2.AsyncClient, key: Any) -> None:
    answer = await client.post(TASKS, json={"kind": KIND, "fairness_key": key})
    assert refusal(answer, 422, "INVALID_REQUEST")["field"] == "fairness_key"
