"""The names that the filter bar completes and the jump palette finds."""

from __future__ import annotations

import pytest
from litestar import Litestar

from taskmill.clock import FakeClock
from taskmill.services import task_query
from taskmill.services.dashboard import constants as c
from taskmill.services.dashboard.names import Names
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import State
from taskmill.stores.dashboard import names as store
from tests.support import api
from tests.support.dashboard import Visitor

pytestmark = pytest.mark.anyio


async def test_keys_and_what_is_known_of_their_values(platform: Platform, reader: Visitor) -> None:
    for queue in ("mail", "bulk"):
        await platform.submit.submit(SubmitRequest(kind=api.KIND, queue=queue))
    answer = await reader.get("names")
    found = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert set(found) == set(task_query.KEYS)
    assert (found["queue"], found["kind"], found["state"]) == (["bulk", "mail"], [api.KIND], list(State))


async def test_every_time_that_is_offered_can_be_read(me: Visitor) -> None:
    found = (await me.get("names")).json()
    for word in [f"{key}:{each}" for key in task_query.TIMES for each in found[key]]:
        assert (await me.get(f"tasks?q={word}".replace(">", "%3E").replace("<", "%3C"))).status_code == 200, word


async def test_names_are_bounded_and_read_once_for_all(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    for queue in ("a", "b", "c"):
        await platform.submit.submit(SubmitRequest(kind=api.KIND, queue=queue))
    monkeypatch.setattr(c, "NAMES_MAX", 2)
    clock, asked = FakeClock(), 0
    real = store.fetch

    async def counted(*given: object) -> object:
        nonlocal asked
        asked += 1
        return await real(*given)  # type: ignore[arg-type] # 原样转交

    monkeypatch.setattr(store, "fetch", counted)
    names = Names(platform.database, clock)
    assert (await names.get()).queues == ["a", "b"]
    await names.get()
    assert asked == 1
    clock.advance(c.NAMES_S)
    await names.get()
    assert asked == 2


async def test_nobody_without_a_session_gets_them(app: Litestar) -> None:
    async with api.client(app) as anybody:
        assert (await anybody.get("/dashboard/names")).status_code == 303
