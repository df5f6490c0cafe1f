"""What changed is told to everybody who watches, by one look; and a stream ends when it should."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import pytest
from litestar import Litestar

from taskmill.api.app import create_app
from taskmill.api.server import serve
from taskmill.dashboard import constants as dc
from taskmill.dashboard.handlers import live
from taskmill.services.dashboard.pulse import SHOWN, Pulse, Topic
from taskmill.services.platform import Platform
from taskmill.services.schedules.service import ScheduleRequest, ScheduleService
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import State
from taskmill.stores.dashboard import pulse as store
from tests.support import api
from tests.support.dashboard import Visitor

pytestmark = pytest.mark.anyio
OWNER = uuid4()
STOPS_S = 2.0  # 停机时事件流至多再活这么久：设计里的数


async def submit(platform: Platform) -> str:
    return str((await platform.submit.submit(SubmitRequest(kind=api.KIND))).id)


@pytest.fixture
async def pulse(platform: Platform) -> Pulse:
    """A pulse that has looked once; its looks are those of the test."""
    await submit(platform)
    found = Pulse(platform.database, platform.backlog)
    assert await found.look() == frozenset()
    return found


async def test_nothing_happened(pulse: Pulse) -> None:
    assert await pulse.look() == frozenset()


async def test_a_task_comes_runs_and_ends(platform: Platform, pulse: Pulse) -> None:
    task_id = await submit(platform)
    assert Topic.TASKS in await pulse.look()
    await api.finish(platform, task_id, State.COMPLETED)
    assert await pulse.look() == {Topic.TASKS}
    await platform.tasks.retry(task_id)  # type: ignore[arg-type]
    assert await pulse.look() == {Topic.TASKS}


async def test_one_goes_and_another_comes(platform: Platform, pulse: Pulse) -> None:
    """The counts are the same before and after."""
    first = await submit(platform)
    await pulse.look()
    await platform.tasks.cancel(first)  # type: ignore[arg-type]
    await submit(platform)
    assert Topic.TASKS in await pulse.look()


async def test_a_queue_a_schedule_and_a_worker(platform: Platform, pulse: Pulse) -> None:
    await platform.queues.pause("default", by="x")
    assert await pulse.look() == {Topic.QUEUES}
    schedules = ScheduleService(platform.database, platform.submit)
    await schedules.create(ScheduleRequest(name="often", kind=api.KIND, interval_s=3_600))
    assert await pulse.look() == {Topic.SCHEDULES}
    await platform.database.pool.execute(
        "insert into taskmill.workers (id, hostname, pid, version, queues, kinds, concurrency, lease_until) "
        "values ($1, 'h', 1, '1', '{}', '{}', 1, now() + interval '1 hour')",
        uuid4(),
    )
    assert await pulse.look() == {Topic.WORKERS}
    await platform.database.pool.execute("update taskmill.workers set running = 1")
    assert await pulse.look() == {Topic.WORKERS}


async def test_a_database_that_is_away_is_told_once_and_its_return_changes_all(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> dict[str, str | None]:
        raise ConnectionRefusedError

    with monkeypatch.context() as gone:
        gone.setattr(store, "facts", away)
        assert await pulse.look() == {Topic.AWAY}
        assert await pulse.look() == frozenset()
    assert await pulse.look() == SHOWN
    assert await pulse.look() == frozenset()


async def test_one_look_serves_all_who_watch(platform: Platform, pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    real = store.facts

    async def counted(connection: Any) -> dict[str, str | None]:
        looks.append(1)
        return await real(connection)

    monkeypatch.setattr(store, "facts", counted)
    monkeypatch.setattr("taskmill.services.dashboard.constants.PULSE_S", 3_600.0)
    with pulse.watching() as first, pulse.watching() as second:
        await submit(platform)
        await pulse.look()
        assert await first.next(60) == await second.next(60) != frozenset()
        assert pulse.watchers() == 2
    assert len(looks) <= 2  # 自己的那一次，也许还有循环开头的
    assert pulse.watchers() == 0


async def test_changes_between_two_questions_are_one_answer(pulse: Pulse) -> None:
    with pulse.watching() as watcher:
        watcher.tell(frozenset({Topic.TASKS}))
        watcher.tell(frozenset({Topic.TASKS, Topic.QUEUES}))
        assert await watcher.next(60) == {Topic.TASKS, Topic.QUEUES}
        assert await watcher.next(0) == frozenset()


@pytest.mark.parametrize("news", [False, True])
async def test_a_stream_tells_beats_and_ends_with_its_session(
    platform: Platform, app: Litestar, me: Visitor, monkeypatch: pytest.MonkeyPatch, news: bool
) -> None:
    site = app.state.dashboard
    monkeypatch.setattr("taskmill.services.dashboard.constants.PULSE_S", 3_600.0)
    stream = live._told(site, OWNER, me.client.cookies[dc.COOKIE], ("127.0.0.1", 1))
    assert (await anext(stream)).startswith(b"retry: ")
    telling = asyncio.ensure_future(anext(stream))
    with anyio.fail_after(60):
        while not site.pulse.watchers():
            await asyncio.sleep(0)
    site.pulse._tell(frozenset({Topic.WORKERS, Topic.TASKS}))
    assert await telling == b"data: tasks workers\n\n"
    monkeypatch.setattr(dc, "HEARTBEAT_S", 0.0)
    assert await anext(stream) == b": \n\n"
    await me.post("logout")
    if news:
        next(iter(site.pulse._watchers)).tell(frozenset({Topic.TASKS}))
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert site.pulse.watchers() == 0


@pytest.mark.parametrize("limit", ["STREAMS_MAX", "STREAMS_OF_ONE"])
async def test_too_many_streams_are_refused(app: Litestar, me: Visitor, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(dc, limit, 0)
    late = live._told(app.state.dashboard, OWNER, me.client.cookies[dc.COOKIE], ("127.0.0.1", 1))
    assert len([each async for each in late]) == 1
    answer = await me.get("events")
    assert (answer.status_code, "SERVER_BUSY" in answer.text) == (503, True)


async def test_a_stream_needs_a_session(app: Litestar) -> None:
    answer = await Visitor(app).get("events", HX_Request="true")
    assert answer.status_code == 401


async def test_a_stream_does_not_keep_the_process(platform: Platform) -> None:
    app = create_app(platform)
    key = await platform.keys.create("k")
    stop, ready, ports = asyncio.Event(), asyncio.Event(), list[int]()
    serving = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, ready=ready, bound=ports.append))
    with anyio.fail_after(60):
        await ready.wait()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports[0]}/dashboard/") as client:
            await client.post("login", data={"api_key": key.secret})
            async with client.stream("GET", "events") as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                chunks = answer.aiter_bytes()
                assert (await anext(chunks)).startswith(b"retry: ")
                stop.set()
                with anyio.fail_after(STOPS_S):
                    assert [chunk async for chunk in chunks if b"SHUTTING_DOWN" in chunk] == []
        await serving
