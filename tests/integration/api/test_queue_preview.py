"""`?dry_run=true` on a queue: what a change would do to the backlog as it stands, and nothing is written."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import httpx2
import pytest

from taskmill.engine.periodic.limiter import Limiter
from taskmill.services.platform import Platform
from tests.support.api import KIND, data, refusal

pytestmark = pytest.mark.anyio
TASKS, QUEUE = "/api/v1/tasks", "/api/v1/queues/q"
TABLES = ("queues", "tasks", "rate_buckets", "key_rate_buckets")


async def fill(client: httpx2.AsyncClient, platform: Platform, keys: str) -> None:
    """Submit one task for each letter, its concurrency key; `-` has none."""
    for key in keys:
        named = {} if key == "-" else {"concurrency_key": key}
        data(await client.post(TASKS, json={"kind": KIND, "queue": "q", **named}), 201)
    while platform.promoter.under_way:
        await asyncio.wait(platform.promoter.under_way)


async def dry(client: httpx2.AsyncClient, change: dict[str, Any]) -> dict[str, Any]:
    return data(await client.put(f"{QUEUE}?dry_run=true", json=change))


async def rows(platform: Platform) -> list[Any]:
    """Everything that a change could touch; tickets come and go by themselves."""
    return [
        sorted(
            str(row[0])
            for row in await platform.database.pool.fetch(
                f"select (to_jsonb(t) - 'ticket_at')::text from taskmill.{table} t"
            )
        )
        for table in TABLES
    ]


CASES: list[tuple[str, dict[str, Any], dict[str, Any], tuple[int, int, int], list[tuple[str, int]]]] = [
    ("aab", {}, {}, (0, 0, 0), []),
    ("aab", {}, {"max_running": 1}, (0, 2, 0), []),
    ("aaabb-", {}, {"max_running_per_key": 1}, (0, 3, 0), [("a", 2), ("b", 1)]),
    ("aaabb-", {}, {"max_running_per_key": 1, "max_running": 2}, (0, 4, 0), [("a", 2), ("b", 1)]),
    ("aab", {"max_running": 1}, {"max_running": 2}, (2, 1, 1), []),
    ("aab", {"max_running": 1}, {"max_running": None}, (2, 0, 2), []),
    ("aaab", {"max_running_per_key": 1}, {"max_running_per_key": 3}, (2, 0, 2), []),
    ("aaaa", {"max_running_per_key": 3}, {"max_running_per_key": 1}, (1, 1, 0), [("a", 1)]),
    ("aaaa", {}, {"rate": {"limit": 1, "period_s": 60, "burst": 2}}, (0, 2, 0), []),
    ("aaabb", {}, {"rate_per_key": {"limit": 1, "period_s": 60, "burst": 1}}, (0, 3, 0), [("a", 2), ("b", 1)]),
    ("aab", {}, {"retention_s": 60}, (0, 0, 0), []),
]


@pytest.mark.parametrize(("keys", "before", "change", "numbers", "held"), CASES, ids=lambda case: str(case)[:50])
async def test_it_tells_what_the_change_then_does_and_writes_nothing(
    client: httpx2.AsyncClient,
    platform: Platform,
    keys: str,
    before: dict[str, Any],
    change: dict[str, Any],
    numbers: tuple[int, int, int],
    held: list[tuple[str, int]],
) -> None:
    await client.put(QUEUE, json=before)
    await fill(client, platform, keys)
    written = await rows(platform)
    told = (await dry(client, change))["preview"]
    assert await rows(platform) == written
    assert (told["held_now"], told["held"], told["released"]) == numbers
    assert [(each["key"], each["held"]) for each in told["keys"]] == held
    assert (told["waiting"], told["keys_total"]) == (len(keys), len(held))

    await client.put(QUEUE, json=change)
    await platform.database.pool.execute("update taskmill.tasks set ticket_at = null where slot is null")
    for _ in range(2):
        await Limiter(platform.database, platform.promoter).run_once()
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks where slot in (0, 1)") == told["held"]


async def test_a_queue_that_nobody_knows_is_shown_as_it_would_be_and_not_made(client: httpx2.AsyncClient) -> None:
    told = await dry(client, {"max_running": 5, "paused": True})
    assert (told["name"], told["max_running"], told["paused"], told["preview"]["waiting"]) == ("q", 5, True, 0)
    refusal(await client.get(QUEUE), 404, "QUEUE_NOT_FOUND")


async def test_it_says_until_about_when_and_why(client: httpx2.AsyncClient, platform: Platform) -> None:
    await fill(client, platform, "aaa")
    by_rate = await dry(client, {"rate": {"limit": 1, "period_s": 600, "burst": 1}})
    assert by_rate["preview"]["basis"]["en"] == "by rate, 0.00166667 starts a second"
    wait = datetime.fromisoformat(by_rate["preview"]["until"]) - datetime.fromisoformat(by_rate["updated_at"])
    assert 1_200 <= wait.total_seconds() < 1_300
    unknown = (await dry(client, {"max_running": 1}))["preview"]
    assert (unknown["until"], unknown["basis"]["en"]) == (
        None,
        "cannot be estimated: no task of the queue ended in the last 60 minutes",
    )
    await platform.database.pool.execute(
        "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_ms, run_ms)"
        " values (date_trunc('minute', now()), 'q', 'x', 'completed', gen_random_uuid(), 2, 0, 60000)"
    )
    known = (await dry(client, {"max_running": 1}))["preview"]
    assert known["basis"]["en"] == "by max_running and the mean run time of the last 60 minutes, 30 s"
    assert known["until"] is not None


async def test_a_backlog_that_would_be_full_is_told(client: httpx2.AsyncClient, platform: Platform) -> None:
    await fill(client, platform, "ab")
    assert (await dry(client, {"max_backlog": 2}))["preview"]["full"]
    assert not (await dry(client, {"max_backlog": 3}))["preview"]["full"]


async def test_what_a_change_refuses_its_dry_run_does_and_only_true_and_false_are_words(client: httpx2.AsyncClient) -> None:
    refusal(await client.put(f"{QUEUE}?dry_run=true", json={"max_running": 0}), 422, "INVALID_REQUEST")
    answer = await client.put(f"{QUEUE}?dry_run=maybe", json={})
    assert refusal(answer, 422, "INVALID_REQUEST")["field"] == "dry_run"


async def test_an_ordinary_change_has_no_preview(client: httpx2.AsyncClient) -> None:
    assert "preview" not in data(await client.put(f"{QUEUE}?dry_run=false", json={"max_running": 1}))
