"""Schedules over HTTP: every route once, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from taskmill.api import constants as c
from taskmill.services.platform import Platform
from tests.support.api import KIND, data, refusal

pytestmark = pytest.mark.anyio
SCHEDULES = "/api/v1/schedules"


def wanted(**changes: Any) -> dict[str, Any]:
    return {
        "name": "morning",
        "kind": KIND,
        "args": {"text": "hi"},
        "cron": "0 8 * * *",
        "timezone": "Asia/Shanghai",
        **changes,
    }


async def test_the_life_of_a_schedule(client: httpx2.AsyncClient, platform: Platform) -> None:
    made = data(await client.post(SCHEDULES, json=wanted()), 201)
    assert (made["name"], made["source"], made["created_by"], made["paused"]) == ("morning", "api", "key:tests", False)
    assert made["next_fire_at"].endswith("T00:00:00.000Z")
    assert data(await client.get(f"{SCHEDULES}/morning")) == data(await client.get(f"{SCHEDULES}/{made['id']}")) == made

    page = data(await client.get(SCHEDULES))
    assert (page["items"], page["total"]) == ([made], 1)

    fires = data(await client.get(f"{SCHEDULES}/morning/next", params={"count": 2}))["items"]
    assert fires[0] == made["next_fire_at"]
    assert len(fires) == 2
    assert len(data(await client.get(f"{SCHEDULES}/morning/next"))["items"]) == c.NEXT_FIRES_DEFAULT

    assert data(await client.post(f"{SCHEDULES}/morning/pause"))["paused"]
    run = data(await client.post(f"{SCHEDULES}/morning/run"), 201)
    task = data(await client.get(f"/api/v1/tasks/{run['task_id']}"))
    assert (task["schedule_id"], task["kind"], task["args"]) == (made["id"], KIND, {"text": "hi"})
    assert not data(await client.post(f"{SCHEDULES}/morning/resume"))["paused"]

    changed = data(await client.put(f"{SCHEDULES}/morning", json=wanted(name="evening", cron="0 20 * * *")))
    assert (changed["id"], changed["name"]) == (made["id"], "evening")
    assert changed["next_fire_at"].endswith("T12:00:00.000Z")

    assert data(await client.delete(f"{SCHEDULES}/evening"))["id"] == made["id"]
    refusal(await client.get(f"{SCHEDULES}/evening"), 404, "SCHEDULE_NOT_FOUND")


REFUSED = [
    ({"cron": "bad"}, 422, "SCHEDULE_INVALID", "cron"),
    ({"cron": "* * * * *", "interval_s": 5}, 422, "SCHEDULE_INVALID", "cron"),
    ({"cron": "\x00 * * * *"}, 422, "SCHEDULE_INVALID", "cron"),
    ({"timezone": "\x00"}, 422, "SCHEDULE_INVALID", "timezone"),
    ({"timezone": "x" * 10_000}, 422, "SCHEDULE_INVALID", "timezone"),
    ({"cron": None, "interval_s": 1e300}, 422, "SCHEDULE_INVALID", "interval_s"),
    ({"name": "a\x00b"}, 422, "SCHEDULE_INVALID", "name"),
    ({"name": "a b"}, 422, "SCHEDULE_INVALID", "name"),
    ({"name": "x" * 101}, 422, "SCHEDULE_INVALID", "name"),
    ({"args": {"text": "a\x00"}}, 422, "ARGS_INVALID", "args.text"),
    ({"args": {"text": 1}}, 422, "ARGS_INVALID", "args.text"),
    ({"args": None}, 422, "ARGS_INVALID", "args"),
    ({"kind": "no.such"}, 422, "KIND_NOT_FOUND", None),
    ({"priority": 7}, 422, "INVALID_REQUEST", "priority"),
    ({"colour": "red"}, 422, "INVALID_REQUEST", "colour"),
    ({"name": None}, 422, "INVALID_REQUEST", "name"),
]


@pytest.mark.parametrize(("changes", "status", "code", "field"), REFUSED)
async def test_what_does_not_fit_is_refused(
    client: httpx2.AsyncClient, changes: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    data(await client.post(SCHEDULES, json=wanted(name="there")), 201)
    for answer in (
        await client.post(SCHEDULES, json=wanted(**changes)),
        await client.put(f"{SCHEDULES}/there", json=wanted(**changes)),
    ):
        assert refusal(answer, status, code).get("field") == field


async def test_a_name_that_is_taken_and_keys_that_are_not(client: httpx2.AsyncClient) -> None:
    data(await client.post(SCHEDULES, json=wanted()), 201)
    assert refusal(await client.post(SCHEDULES, json=wanted()), 409, "SCHEDULE_EXISTS") == {"name": "morning"}
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/run"),
        ("GET", "/next"),
    ):
        refusal(await client.request(method, f"{SCHEDULES}/nobody{path}"), 404, "SCHEDULE_NOT_FOUND")
    refusal(await client.put(f"{SCHEDULES}/nobody", json=wanted()), 404, "SCHEDULE_NOT_FOUND")
    refusal(await client.get(f"{SCHEDULES}/%00"), 422, "INVALID_REQUEST")


@pytest.mark.parametrize("count", ["0", "51", "-1", "x", "1.5"])
async def test_count_of_coming_fires_has_bounds(client: httpx2.AsyncClient, count: str) -> None:
    data(await client.post(SCHEDULES, json=wanted()), 201)
    answer = await client.get(f"{SCHEDULES}/morning/next", params={"count": count})
    assert refusal(answer, 422, "INVALID_REQUEST")["field"] == "count"


async def test_reading_needs_read_and_changing_needs_write(client: httpx2.AsyncClient, platform: Platform) -> None:
    data(await client.post(SCHEDULES, json=wanted()), 201)
    key = await platform.keys.create("reader", ["read"])
    client.headers["Authorization"] = f"Bearer {key.secret}"
    data(await client.get(f"{SCHEDULES}/morning"))
    for method, path in (("POST", ""), ("PUT", "/morning"), ("DELETE", "/morning"), ("POST", "/morning/run")):
        refusal(await client.request(method, SCHEDULES + path, json=wanted()), 403, "FORBIDDEN")
