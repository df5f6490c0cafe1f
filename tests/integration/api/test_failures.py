"""Failures by fingerprint: pages, filters, one group with its tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest

from taskmill.clock import rfc3339
from taskmill.services.platform import Platform
from taskmill.states import State
from taskmill.stores.tasks import failures
from taskmill.stores.tasks.failures import Failed
from tests.support import rows
from tests.support.api import KIND, data, finish, refusal

pytestmark = pytest.mark.anyio
FAILURES = "/api/v1/failures"


async def group(platform: Platform, number: int, *, kind: str = "k", queue: str = "q", ago_s: float = 0) -> str:
    name = f"{number:016x}"
    made = Failed(name, "0" * 16, kind, "E", "m", "f", queue, UUID(int=number))
    async with platform.database.transaction() as connection:
        await failures.count(connection, failures.together([made]))
        await connection.execute(
            "update taskmill.failures set last_at = last_at - $2 * interval '1 second' where fingerprint = $1", name, ago_s
        )
    return name


def names(page: Any) -> list[str]:
    return [item["fingerprint"] for item in page["items"]]


async def test_pages_by_keyset_the_last_first(client: httpx2.AsyncClient, platform: Platform) -> None:
    made = [await group(platform, n, ago_s=n) for n in range(1, 6)]
    first = data(await client.get(FAILURES, params={"page_size": 2}))
    assert (names(first), first["page"], first["total"]) == (made[:2], None, None)
    second = data(await client.get(FAILURES, params={"page_size": 2, "cursor": first["next_cursor"]}))
    third = data(await client.get(FAILURES, params={"page_size": 2, "cursor": second["next_cursor"]}))
    assert (names(second), names(third), third["next_cursor"]) == (made[2:4], made[4:], None)


async def test_filters(client: httpx2.AsyncClient, platform: Platform) -> None:
    await group(platform, 1, kind="a", queue="x", ago_s=7_200)
    await group(platform, 2, kind="b", queue="x")
    await group(platform, 2, kind="b", queue="y")
    since = rfc3339(await rows.now(platform.database.pool) - timedelta(hours=1))
    for query, found in (
        ({"kind": "a"}, [1]), ({"queue": "x"}, [2, 1]), ({"queue": "y"}, [2]), ({"since": since}, [2]),
        ({"kind": "a", "since": since}, []), ({"queue": "nowhere"}, []),
    ):  # fmt: skip
        assert names(data(await client.get(FAILURES, params=query))) == [f"{n:016x}" for n in found], query


@pytest.mark.parametrize(
    "query",
    [{"cursor": "x"}, {"cursor": "1-2"}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"page_size": "0"},
     {"page_size": "101"}, {"page": "1"}, {"kind": ""}],
)  # fmt: skip
async def test_bad_queries(client: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert refusal(await client.get(FAILURES, params=query), 422, "INVALID_REQUEST")["field"] == next(iter(query))


async def test_a_cursor_from_nowhere_is_an_empty_page_or_a_page(client: httpx2.AsyncClient, platform: Platform) -> None:
    made = await group(platform, 1)
    assert names(data(await client.get(FAILURES, params={"cursor": "0-0000000000000000"}))) == []
    assert names(data(await client.get(FAILURES, params={"cursor": "99999999999999999-ffffffffffffffff"}))) == [made]


async def test_one_group_with_its_tasks_as_they_are_now(client: httpx2.AsyncClient, platform: Platform) -> None:
    ids = [data(await client.post("/api/v1/tasks", json={"kind": KIND}), 201)["id"] for _ in range(2)]
    for each in ids:
        await finish(platform, each, State.DISCARDED)
    (item,) = data(await client.get(FAILURES))["items"]
    assert (item["n"], item["error_type"], item["message"], item["other"]) == (2, "ValueError", "no", False)
    data(await client.post(f"/api/v1/tasks/{ids[0]}/retry"))
    found = data(await client.get(f"{FAILURES}/{item['fingerprint']}"))
    assert [(task["id"], task["state"]) for task in found["tasks"]] == [(ids[1], "discarded"), (ids[0], "available")]
    attempts = data(await client.get(f"/api/v1/tasks/{ids[1]}/attempts"))["items"]
    assert [each["fingerprint"] for each in attempts] == [item["fingerprint"]]
    assert refusal(await client.get(f"{FAILURES}/{'f' * 16}"), 404, "FAILURE_NOT_FOUND") == {"fingerprint": "f" * 16}
