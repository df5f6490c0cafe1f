"""Sequences and dependencies over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx2
import pytest

from taskmill.ids import new_id
from taskmill.services.platform import Platform
from tests.support import orders
from tests.support.api import KIND, data, refusal

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/tasks"


def wanted(**options: Any) -> dict[str, Any]:
    return {"kind": KIND, "args": {"text": "a"}, **options}


async def test_a_sequence_is_submitted_stopped_shown_and_skipped(client: httpx2.AsyncClient, platform: Platform) -> None:
    options = {"sequence_key": "order-17", "sequence_on_failure": "stop"}
    ids = [data(await client.post(TASKS, json=wanted(**options)), 201)["id"] for _ in range(2)]
    await orders.let_go(platform.database)
    await orders.run_as(platform.database, UUID(ids[0]), KIND, "discarded")
    shown = data(await client.get(f"{TASKS}/{ids[1]}"))
    assert (shown["state"], shown["sequence_key"]) == ("blocked", "order-17")
    assert "SEQUENCE_STOPPED" in {reason["code"] for reason in shown["waiting"]}
    assert data(await client.get(f"{TASKS}?state=blocked"))["total"] == 1
    assert data(await client.post(f"{TASKS}/{ids[0]}/skip"))["state"] == "discarded"
    refusal(await client.post(f"{TASKS}/{ids[0]}/skip"), 409, "TASK_NOT_SKIPPABLE")
    refusal(await client.post(f"{TASKS}/{new_id()}/skip"), 404, "TASK_NOT_FOUND")
    assert data(await client.get(f"{TASKS}/{ids[1]}"))["state"] == "available"


async def test_a_parent_that_is_not_there_is_named(client: httpx2.AsyncClient) -> None:
    missing = str(new_id())
    found = refusal(await client.post(TASKS, json=wanted(depends_on=[missing])), 422, "PARENT_NOT_FOUND")
    assert found == {"id": missing, "field": "depends_on[0]"}
    answer = await client.post(f"{TASKS}/batch", json={"tasks": [wanted(), wanted(depends_on=[missing])]})
    assert refusal(answer, 422, "PARENT_NOT_FOUND")["index"] == 1
    assert data(await client.get(TASKS))["total"] == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"depends_on": ["no"]}, "depends_on[0]"),
        ({"depends_on": "0190a5c8-7d3f-7aaa-8000-000000000001"}, "depends_on"),
        ({"sequence_key": "k", "sequence_on_failure": "hope"}, "sequence_on_failure"),
        ({"sequence_on_failure": "stop"}, "sequence_on_failure"),
    ],
    ids=str,
)
async def test_what_does_not_fit_is_named(client: httpx2.AsyncClient, options: dict[str, Any], field: str) -> None:
    assert refusal(await client.post(TASKS, json=wanted(**options)), 422, "INVALID_REQUEST")["field"] == field


async def test_blocked_tasks_are_counted_and_make_no_worker_start(client: httpx2.AsyncClient, platform: Platform) -> None:
    parent = data(await client.post(TASKS, json=wanted()), 201)["id"]
    data(await client.post(TASKS, json=wanted(depends_on=[parent])), 201)
    await orders.let_go(platform.database)
    found = data(await client.get("/api/v1/scaling/default"))
    assert (found["ready"], found["runnable"]) == (1, 1)
    assert data(await client.get("/api/v1/queues/default"))["live"]["blocked"] == 1
    assert 'state="blocked"' in (await client.get("/metrics")).text
