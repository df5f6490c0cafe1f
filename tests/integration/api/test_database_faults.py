"""What clients are told while PostgreSQL refuses: 503 with a time to try again, never that they are to blame."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx2
import pytest

from taskmill.api.constants import RETRY_AFTER_S
from tests.support import api
from tests.support.databases import execute
from tests.support.roles import as_role, temporary_role

pytestmark = pytest.mark.anyio
GRANTS = (
    "grant usage on schema taskmill to {role}",
    "grant select, insert, update, delete on all tables in schema taskmill to {role}",
)
TASK = {"kind": api.KIND, "args": {}}
LIMITS = ("statement_timeout", "lock_timeout")


@asynccontextmanager
async def _locked(database_url: str) -> AsyncIterator[None]:
    """Somebody else holds the table."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("begin; lock table taskmill.tasks in access exclusive mode")
    try:
        yield
    finally:
        await connection.close()


def _told_to_wait(answer: httpx2.Response, code: str = "DATABASE_UNAVAILABLE") -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == code
    assert answer.headers["Retry-After"] == str(RETRY_AFTER_S)


@pytest.mark.parametrize("limit", LIMITS)
async def test_limits_that_a_dba_sets_for_the_role_are_the_servers_fault(
    database_url: str, broker_url: str, limit: str
) -> None:
    with temporary_role(database_url, *GRANTS, f"alter role {{role}} set {limit} = '200ms'") as role:
        async with api.opened(database_url, broker_url) as platform, api.api(platform) as client:
            waiting = (await client.post("/api/v1/tasks", json={**TASK, "delay_s": 3600})).json()["data"]["id"]
            async with api.opened(as_role(database_url, role), broker_url, partitions_by=database_url) as limited:
                async with api.api(limited) as slow, _locked(database_url):
                    _told_to_wait(await slow.post("/api/v1/tasks", json=TASK))
                    _told_to_wait(await slow.post("/api/v1/tasks/batch", json={"tasks": [TASK, TASK]}))
                    _told_to_wait(await slow.post(f"/api/v1/tasks/{waiting}/cancel"))
                    _told_to_wait(await slow.post(f"/api/v1/tasks/{waiting}/retry"))
                    _told_to_wait(await slow.get(f"/api/v1/tasks/{waiting}"))
                async with api.api(limited) as again:
                    assert (await again.post("/api/v1/tasks", json=TASK)).status_code == 201


async def test_a_right_that_was_taken_away_is_named(database_url: str, broker_url: str) -> None:
    with temporary_role(database_url, *GRANTS) as role:
        async with (
            api.opened(as_role(database_url, role), broker_url, partitions_by=database_url) as platform,
            api.api(platform) as client,
        ):
            await execute(database_url, f"revoke insert on taskmill.tasks from {role}")
            answer = await client.post("/api/v1/tasks", json=TASK)
            _told_to_wait(answer, "DATABASE_RIGHTS")
            assert "permission denied for table tasks" in answer.json()["message"]["en"]
            await execute(database_url, f"grant insert on taskmill.tasks to {role}")
            assert (await client.post("/api/v1/tasks", json=TASK)).status_code == 201
