"""What the contract promises a handler, on a real worker: executors, submits from threads, times, groups, log lines."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from contextvars import ContextVar
from typing import Any, ClassVar
from uuid import UUID

import pytest
from taskiq import TaskiqDepends, TaskiqMessage, TaskiqMiddleware, TaskiqResult

from taskmill import Discard, Retry, Snooze, TaskContext, task
from taskmill.engine.worker import WorkerRole
from taskmill.errors import Code, UnavailableError
from taskmill.log import get_logger
from taskmill.plugin.definition import RetryPolicy, TaskDefinition
from tests.support import api
from tests.support.engines import (
    Engine,
    attempts,
    decoded,
    final,
    finished,
    in_state,
    platform_of,
    running,
    staged,
    submit,
    worker_on,
)

pytestmark = pytest.mark.anyio


class Recorder(TaskiqMiddleware):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        self.seen.append(message.task_name)


class Own:
    """An executor of a plugin."""

    ran: ClassVar[list[str]] = []

    async def run(self, definition: TaskDefinition[..., Any], parameters: dict[str, Any], context: TaskContext) -> Any:
        self.ran.append(definition.kind)
        return f"own {definition.function(**parameters)}"

    async def close(self) -> None: ...


def _five() -> int:
    return 5


FIVE: Any = TaskiqDepends(_five)


def _owned(n: int) -> str:
    return str(n)


def _depending(n: int, five: int = FIVE) -> str:
    return str(n + five)


async def _later(value: str) -> str:
    return value


def _owned_later(n: int) -> Any:
    return _later(str(n))


@pytest.mark.parametrize("handler", [_owned, _depending], ids=["plain", "with a dependency"])
@pytest.mark.parametrize("middlewares", [[], [Recorder()]], ids=["alone", "behind a middleware"])
async def test_the_executor_of_a_kind_is_honoured(
    database_url: str, broker_url: str, middlewares: list[Any], handler: Any
) -> None:
    owned = task("test.own", executor="own")(handler)

    @task("test.thread")
    def threaded(ctx: TaskContext) -> str:
        return f"{threading.current_thread().name} {ctx.attempt}"

    async with platform_of(database_url, broker_url, owned, threaded, middlewares=middlewares) as platform:
        platform.host.registry.executor("own", Own)
        async with staged(platform), worker_on(platform):
            assert (
                decoded((await final(platform, await submit(platform, "test.own", {"n": 3})))["result"])
                == f"own {3 if handler is _owned else 8}"
            )
            assert decoded((await final(platform, await submit(platform, "test.thread")))["result"] or b"null") == "task 1"


@pytest.mark.parametrize("middlewares", [[], [Recorder()]], ids=["alone", "behind a middleware"])
async def test_a_plain_function_that_returns_a_coroutine_has_it_awaited(
    database_url: str, broker_url: str, middlewares: list[Any]
) -> None:
    made = task("test.later", executor="thread")(_owned_later)
    async with running(database_url, broker_url, made, middlewares=middlewares) as platform:
        assert decoded((await final(platform, await submit(platform, "test.later", {"n": 3})))["result"]) == "3"


class Worn:
    """An executor as plugins wrote them before `exhausted` was part of the protocol, which does not close either."""

    async def run(self, definition: TaskDefinition[..., Any], parameters: dict[str, Any], context: TaskContext) -> Any:
        return definition.function(**parameters)

    async def close(self) -> None:
        raise OSError("still busy")


class Exhausted(Own):
    exhausted = True


async def test_an_executor_that_fails_to_close_changes_nothing_for_the_end_of_a_worker(
    database_url: str, broker_url: str
) -> None:
    owned = task("test.own", executor="worn")(_owned)
    async with platform_of(database_url, broker_url, owned) as platform, staged(platform):
        platform.host.registry.executor("worn", Worn)
        engine = await Engine(platform, WorkerRole(platform, (), 1)).start()
        assert (await final(platform, await submit(platform, "test.own", {"n": 1})))["state"] == "completed"
        assert await engine.halt() == 0


async def test_an_executor_of_a_plugin_may_ask_for_a_new_process(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url) as platform:
        platform.host.registry.executor("own", Exhausted)
        engine = Engine(platform, WorkerRole(platform, (), 1))
        with pytest.raises(UnavailableError, match="WORKER_WORN_OUT"):
            await engine.worker.run(engine.stop)


async def test_an_executor_that_cannot_be_made_fails_its_kinds_only(database_url: str, broker_url: str) -> None:
    def broken() -> Own:
        raise OSError("no GPU")

    @task("test.own", executor="own", retry=RetryPolicy(max_attempts=1))
    def owned() -> None: ...

    @task("test.fine")
    async def fine() -> str:
        return "fine"

    async with platform_of(database_url, broker_url, owned, fine) as platform:
        platform.host.registry.executor("own", broken)
        async with staged(platform), worker_on(platform):
            row = await final(platform, await submit(platform, "test.own"))
            assert "no GPU" in decoded(row["error"])["message"]
            assert (await final(platform, await submit(platform, "test.fine")))["state"] == "completed"


async def test_handlers_of_every_form_run(database_url: str, broker_url: str) -> None:
    async def plus(a: int, by: int = 1) -> int:
        return a + by

    @functools.wraps(plus)
    def undecorated(*args: Any, **kwargs: Any) -> Any:
        return plus(*args, **kwargs)

    class Caller:
        async def __call__(self, a: int, ctx: TaskContext) -> int:
            return a + ctx.attempt

    forms = {
        "test.partial": functools.partial(plus, by=1),
        "test.wrapper": undecorated,
        "test.object": Caller(),
        "test.method": Caller().__call__,
    }
    kinds = [task(name)(function) for name, function in forms.items()]
    async with running(database_url, broker_url, *kinds) as platform:
        for name in forms:
            row = await final(platform, await submit(platform, name, {"a": 1}))
            assert decoded(row["result"]) == 2, name


@task("test.leaf")
async def leaf(n: int = 0) -> None: ...


async def test_a_plain_handler_submits(database_url: str, broker_url: str) -> None:
    @task("test.plain")
    def plain(ctx: TaskContext) -> str:
        return str(ctx.submit_sync("test.leaf", {"n": 1}, tags=["child"]))

    @task("test.asyncio_run")
    def with_a_loop_of_its_own(ctx: TaskContext) -> str:
        return str(asyncio.run(ctx.submit("test.leaf", {"n": 2})))

    async with running(database_url, broker_url, plain, with_a_loop_of_its_own, leaf) as platform:
        for kind in ("test.plain", "test.asyncio_run"):
            row = await final(platform, await submit(platform, kind))
            assert (await final(platform, UUID(decoded(row["result"]))))["kind"] == "test.leaf"


async def test_submits_from_many_threads_hold_up_nobody(database_url: str, broker_url: str) -> None:
    @task("test.asyncio_run")
    def with_a_loop_of_its_own(ctx: TaskContext) -> None:
        asyncio.run(ctx.submit("test.leaf"))

    async with running(database_url, broker_url, with_a_loop_of_its_own, leaf, concurrency=20) as platform:
        await asyncio.gather(
            *(submit(platform, "test.asyncio_run") for _ in range(60)), *(submit(platform, "test.leaf") for _ in range(60))
        )
        await finished(platform, 180)
        assert (
            await platform.database.pool.fetchval("select count(*) from taskmill.task_history where state <> 'completed'")
            == 0
        )


async def test_a_submit_in_another_event_loop_fails_at_once_with_words(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, leaf) as platform:
        await submit(platform, "test.leaf")
        with pytest.raises(Exception, match="submit_sync") as caught:
            await asyncio.to_thread(lambda: asyncio.run(submit(platform, "test.leaf")))
        assert getattr(caught.value, "code", None) is Code.USAGE
        await submit(platform, "test.leaf")


async def test_submit_sync_is_refused_on_the_event_loop(database_url: str, broker_url: str) -> None:
    @task("test.coroutine", retry=RetryPolicy(max_attempts=1))
    async def coroutine(ctx: TaskContext) -> None:
        ctx.submit_sync("test.leaf")

    async with running(database_url, broker_url, coroutine, leaf) as platform:
        row = await final(platform, await submit(platform, "test.coroutine"))
        assert "await ctx.submit" in decoded(row["error"])["message"]


async def test_what_ctx_submit_cannot_store_is_refused(database_url: str, broker_url: str) -> None:
    @task("test.any", retry=RetryPolicy(max_attempts=1))
    async def anything(value: Any = None) -> None: ...

    @task("test.parent", retry=RetryPolicy(max_attempts=1))
    async def parent(ctx: TaskContext) -> None:
        await ctx.submit("test.any", {"value": float("inf")})

    @task("test.result", retry=RetryPolicy(max_attempts=1))
    async def result() -> Any:
        return {"v": float("nan")}

    async with running(database_url, broker_url, parent, result, anything) as platform:
        row = await final(platform, await submit(platform, "test.parent"))
        assert "ARGS_INVALID" in decoded(row["error"])["message"]
        row = await final(platform, await submit(platform, "test.result"))
        assert "RESULT_NOT_ENCODABLE" in decoded(row["error"])["message"]


async def test_an_impossible_delay_fails_the_attempt_and_every_read_goes_on(database_url: str, broker_url: str) -> None:
    @task("test.late", retry=RetryPolicy(max_attempts=3, base_delay=300, max_delay=300))
    async def late(after: float | None = None) -> None:
        raise Snooze(after=1e12) if after is None else Retry(after=after)

    async with running(database_url, broker_url, late) as platform, api.api(platform) as client:
        for args in ({}, {"after": 1.7e12}):
            task_id = await submit(platform, "test.late", args)
            row = await in_state(platform, task_id, "retryable")
            assert "DELAY_INVALID" in decoded(row["error"])["message"]
            assert row["attempt"] == 1
            assert [a["cause"] for a in await attempts(platform, task_id)] == ["error"]
            for path in ("/api/v1/tasks", f"/api/v1/tasks/{task_id}", f"/api/v1/tasks/{task_id}/attempts"):
                assert (await client.get(path)).status_code == 200
            assert api.data(await client.post(f"/api/v1/tasks/{task_id}/cancel"))["state"] == "cancelled"


@pytest.mark.parametrize("moment", ["33700-01-01", "infinity"])
async def test_a_moment_stored_long_ago_that_nobody_can_read_breaks_no_list(
    database_url: str, broker_url: str, moment: str
) -> None:
    async with platform_of(database_url, broker_url, leaf) as platform, api.api(platform) as client:
        task_id = await submit(platform, "test.leaf", delay_s=60)
        await platform.database.pool.execute(f"update taskmill.tasks set run_at = '{moment}' where id = $1", task_id)
        for path in ("/api/v1/tasks", f"/api/v1/tasks/{task_id}"):
            assert (await client.get(path)).status_code == 200
        assert api.data(await client.post(f"/api/v1/tasks/{task_id}/cancel"))["state"] == "cancelled"
        for path in ("/api/v1/tasks", f"/api/v1/tasks/{task_id}"):
            assert (await client.get(path)).status_code == 200


async def test_control_flow_inside_a_task_group_means_what_it_says(database_url: str, broker_url: str) -> None:
    @task("test.group")
    async def grouped(how: str) -> None:
        async def one() -> None:
            raise {"discard": Discard("bad input"), "retry": Retry(after=3_600), "snooze": Snooze(after=3_600)}[how]

        async with asyncio.TaskGroup() as group:
            group.create_task(one())

    async with running(database_url, broker_url, grouped) as platform:
        row = await final(platform, await submit(platform, "test.group", {"how": "discard"}))
        assert (row["state"], row["attempt"], decoded(row["error"])) == (
            "discarded",
            1,
            {"type": "Discard", "message": "bad input"},
        )
        await in_state(platform, await submit(platform, "test.group", {"how": "retry"}), "retryable")
        row = await in_state(platform, await submit(platform, "test.group", {"how": "snooze"}), "scheduled")
        assert row["attempt"] == 0


async def test_whole_numbers_of_any_size_and_context_variables_stay_what_they_are(
    database_url: str, broker_url: str
) -> None:
    mine: ContextVar[int] = ContextVar("mine", default=0)

    @task("test.coroutine")
    async def coroutine(n: int) -> list[int]:
        before, _ = mine.get(), mine.set(n)
        await asyncio.sleep(0)
        return [before, mine.get()]

    @task("test.thread")
    def thread(n: int) -> list[int]:
        before, _ = mine.get(), mine.set(n)
        return [before, mine.get()]

    numbers = [10**400 + n for n in range(10)]
    async with running(database_url, broker_url, coroutine, thread) as platform:
        for kind in ("test.coroutine", "test.thread"):
            ids = [await submit(platform, kind, {"n": n}) for n in numbers]
            results = [decoded((await final(platform, task_id))["result"]) for task_id in ids]
            assert results == [[0, n] for n in numbers]


async def test_every_log_line_inside_an_attempt_names_the_task(
    database_url: str, broker_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from taskmill.log import configure_logging

    @task("test.coroutine")
    async def coroutine() -> None:
        get_logger("mine").info("协程里")

    @task("test.thread")
    def thread() -> None:
        logging.getLogger("somebody.else").warning("in a thread")

    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging(log_format="json")
    try:
        async with running(database_url, broker_url, coroutine, thread) as platform:
            ids = [str(await submit(platform, kind)) for kind in ("test.coroutine", "test.thread")]
            for each in ids:
                await final(platform, UUID(each))
    finally:
        root.handlers = handlers
        root.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    for task_id, words in zip(ids, ("协程里", "in a thread"), strict=True):
        line = next(line for line in lines if words in line)
        assert task_id in line
        assert '"attempt":1' in line
