"""Submit, read, cancel, retry over HTTP."""

from __future__ import annotations

import httpx2
import pytest

from taskmill.services.platform import Platform
from tests.support.api import KIND, data, refusal

pytestmark = pytest.mark.anyio
UNKNOWN = "01890000-0000-7000-8000-000000000000"


async def _submit(client: httpx2.AsyncClient, **fields: object) -> dict[str, object]:
    accepted: dict[str, object] = data(await client.post("/api/v1/tasks", json={"kind": KIND, **fields}), 201)
    return accepted


async def test_a_submitted_task_can_be_read(client: httpx2.AsyncClient) -> None:
    accepted = await _submit(client, args={"text": "你好", "n": 3}, tags=["a", "b"], meta={"x": 1}, priority=1)
    task = data(await client.get(f"/api/v1/tasks/{accepted['id']}"))
    assert (task["args"], task["tags"], task["meta"]) == ({"text": "你好", "n": 3}, ["a", "b"], {"x": 1})
    assert (task["state"], task["priority"], task["created_by"]) == ("available", 1, "key:tests")
    assert task["created_at"].endswith("Z")
    assert len(task["created_at"]) == len("2026-11-23T06:22:00.123Z")
