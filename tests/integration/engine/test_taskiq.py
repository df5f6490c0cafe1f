"""Ordinary taskiq code works unchanged: kiq, wait_result, dependencies, middlewares."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from taskiq import InMemoryBroker, TaskiqDepends, TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import SendTaskError

from taskmill import TaskContext, Unique, task
from taskmill.engine import constants as ec
from taskmill.engine.broker import TaskmillBroker
from taskmill.errors import Code, ConflictError, SetupError
from taskmill.plugin.definition import RetryPolicy
from taskmill.services.platform import Platform
from tests.support.engines import Host, attempts, decoded, final, live, platform_of, running, submit

pytestmark = pytest.mark.anyio


def broker_of(platform: Platform) -> TaskmillBroker:
    url = platform.settings.require_broker_url()
    return TaskmillBroker(url, platform.submit, platform.database, platform.host.registry)


def taskiq_task(function: Any, name: str, **labels: Any) -> Any:
    return InMemoryBroker().register_task(function, task_name=name, **labels)


class Recorder(TaskiqMiddleware):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    async def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        self.seen.append(f"pre {message.task_name}")
        return message

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self.seen.append(f"post {result.is_err}")

    async def on_error(self, message: TaskiqMessage, result: TaskiqResult[Any], exception: BaseException) -> None:
        self.seen.append(f"error {type(exception).__name__}")


async def add(a: int, b: int = 1) -> int:
    return a + b


async def test_kiq_is_durable_and_wait_result_sees_the_result(database_url: str, broker_url: str) -> None:
    adding = taskiq_task(add, "test.add", queue="sums", priority=1)
    async with running(database_url, broker_url, adding) as platform:
        broker = broker_of(platform)
        sent = await adding.kiq(2, b=3)
        result = await sent.wait_result(timeout=10, check_interval=0.02)
        assert (result.is_err, result.return_value) == (False, 5)
        row = await final(platform, UUID(sent.task_id))
        assert (row["queue"], row["priority"], decoded(row["args"])) == ("sums", 1, {"a": 2, "b": 3})
        await broker.shutdown()


async def test_labels_of_kiq_are_options_of_the_submit(database_url: str, broker_url: str) -> None:
    adding = taskiq_task(add, "test.add")
    async with platform_of(database_url, broker_url, adding) as platform:
        broker_of(platform)
        labels = {"queue": "later", "priority": 4, "delay": 60, "timeout": 2.5, "max_attempts": 2}
        sent = await adding.kicker().with_labels(**labels).kiq(1)
        row = await live(platform, UUID(sent.task_id))
        assert row is not None
        assert (row["state"], row["queue"], row["priority"], row["timeout_ms"], row["max_attempts"]) == (
            "scheduled",
            "later",
            4,
            2_500,
            2,
        )


async def test_wait_result_tells_of_a_failure(database_url: str, broker_url: str) -> None:
    async def broken() -> None:
        raise ValueError("so it goes")

    breaking = taskiq_task(broken, "test.broken")
    async with running(database_url, broker_url, breaking) as platform:
        broker_of(platform)
        sent = await breaking.kicker().with_labels(max_attempts=1).kiq()
        result = await sent.wait_result(timeout=10, check_interval=0.02)
        assert result.is_err
        assert "so it goes" in str(result.error)


async def test_a_task_definition_is_kiqed_under_its_kind(database_url: str, broker_url: str) -> None:
    adding = task("test.add")(add)
    async with running(database_url, broker_url, adding) as platform:
        found = broker_of(platform).find_task("test.add")
        assert found is not None
        sent = await found.kiq(a=4)
        assert decoded((await final(platform, UUID(sent.task_id)))["result"]) == 5


async def test_dependencies_are_resolved_and_closed(database_url: str, broker_url: str) -> None:
    steps: list[str] = []

    async def session() -> AsyncIterator[str]:
        steps.append("open")
        yield "session"
        steps.append("close")

    depends: Any = TaskiqDepends(session)

    @task("test.depending")
    async def depending(n: int, context: TaskContext, dep: Any = depends, other: Any = depends) -> list[Any]:
        steps.append("run")
        return [n, dep, other, context.attempt]

    async with running(database_url, broker_url, depending) as platform:
        row = await final(platform, await submit(platform, "test.depending", {"n": 3}))
        assert decoded(row["result"]) == [3, "session", "session", 1]
        assert steps == ["open", "run", "close"]


async def test_middlewares_see_each_attempt_once(database_url: str, broker_url: str) -> None:
    recorder = Recorder()

    @task("test.fails_once", retry=RetryPolicy(max_attempts=2, base_delay=0.01))
    async def fails_once(context: TaskContext) -> str:
        if context.attempt == 1:
            raise OSError("first")
        return "fine"

    async with running(database_url, broker_url, fails_once, middlewares=[recorder]) as platform:
        row = await final(platform, await submit(platform, "test.fails_once"))
        assert decoded(row["result"]) == "fine"
        assert recorder.seen == [
            "pre test.fails_once",
            "error OSError",
            "post True",
            "pre test.fails_once",
            "post False",
        ]
        assert [a["error_type"] for a in await attempts(platform, row["id"])] == ["OSError"]


async def test_a_middleware_that_breaks_fails_the_attempt(database_url: str, broker_url: str) -> None:
    class Broken(TaskiqMiddleware):
        def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
            raise LookupError("no tenant")

    @task("test.any", retry=RetryPolicy(max_attempts=1))
    async def anything() -> None: ...

    async with running(database_url, broker_url, anything, middlewares=[Broken()]) as platform:
        row = await final(platform, await submit(platform, "test.any"))
        assert decoded(row["error"]) == {"type": "LookupError", "message": "no tenant"}


async def test_a_middleware_that_does_not_start_or_end_is_left_out_and_the_worker_works(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Recorder):
        def startup(self) -> None:
            raise LookupError("no tenant")

    class Hangs(Recorder):
        async def startup(self) -> None:
            await asyncio.Event().wait()

    class Stays(Recorder):
        def shutdown(self) -> None:
            raise LookupError("too late")

    @task("test.any")
    async def anything() -> None: ...

    monkeypatch.setattr(ec, "MIDDLEWARE_S", 0.1)
    brought = [Broken(), Hangs(), Stays()]
    async with running(database_url, broker_url, anything, middlewares=brought) as platform:
        assert (await final(platform, await submit(platform, "test.any")))["state"] == "completed"
        assert isinstance(platform.host, Host)
        assert [(middleware, type(error)) for middleware, error in platform.host.broken] == [
            (brought[0], LookupError),
            (brought[1], TimeoutError),
        ]
        assert [bool(each.seen) for each in brought] == [False, False, True]
        host = platform.host
    assert host.broken[2][0] is brought[2]


async def test_a_timeout_and_a_cancel_reach_a_handler_behind_taskiq(database_url: str, broker_url: str) -> None:
    @task("test.hang", timeout=0.2, retry=RetryPolicy(max_attempts=1))
    async def hang() -> None:
        await asyncio.Event().wait()

    async with running(database_url, broker_url, hang, middlewares=[Recorder()]) as platform:
        row = await final(platform, await submit(platform, "test.hang"))
        assert [a["cause"] for a in await attempts(platform, row["id"])] == ["timeout"]


async def test_the_stock_taskiq_worker_is_refused(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, task("test.add")(add)) as platform:
        with pytest.raises(SetupError) as caught:
            await anext(broker_of(platform).listen())
        assert caught.value.code is Code.USAGE


async def test_kiq_of_a_duplicate_is_refused_with_the_task_that_is_there(database_url: str, broker_url: str) -> None:
    @task("test.once", unique=Unique(by=["a"]))
    async def once(a: int, b: int = 0) -> None: ...

    async with platform_of(database_url, broker_url, once) as platform:
        first = await submit(platform, "test.once", {"a": 1})
        kicked = broker_of(platform).find_task("test.once")
        assert kicked is not None
        with pytest.raises(SendTaskError) as caught:
            await kicked.kiq(1, b=2)
        cause = caught.value.__cause__
        assert isinstance(cause, ConflictError)
        assert (cause.code, cause.details["id"]) == (Code.UNIQUE_TAKEN, str(first))
