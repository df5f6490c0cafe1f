"""An application submits through the door and waits for what comes of it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from taskmill import TaskCancelled, TaskFailed, Taskmill, TaskRequest
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.unique import Unique
from taskmill.errors import Code, ConflictError, InputError, LimitError, NotFoundError, TaskmillError
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import State
from tests.support import door_kinds as kinds
from tests.support.door_kinds import Sum
from tests.support.engines import decoded, history, live

pytestmark = pytest.mark.anyio
WAIT_S = 60.0
MANY = 200


async def test_the_result_is_what_the_handler_declares(at_work: Platform, tm: Taskmill) -> None:
    order = await tm.submit(kinds.add.request(2, b=3))
    assert await order.result(timeout=WAIT_S) == Sum(5)
    assert await order.status() is State.COMPLETED
    assert (order.kind, order.duplicate, order.replaced) == ("door.add", False, False)


async def test_a_kind_that_is_only_a_name_results_in_json(at_work: Platform, tm: Taskmill) -> None:
    order = await tm.submit("door.add", {"a": 2, "b": 3}, priority=1)
    assert await order.result(timeout=WAIT_S) == {"total": 5}
    row = await history(at_work, order.id)
    assert row is not None
    assert row["priority"] == 1


async def test_a_task_that_failed_says_why(at_work: Platform, tm: Taskmill) -> None:
    order = await tm.submit(kinds.fail.request("no such address"))
    with pytest.raises(TaskFailed) as caught:
        await order.result(timeout=WAIT_S)
    assert (caught.value.id, caught.value.kind) == (order.id, "door.fail")
    assert caught.value.error == {"type": "ValueError", "message": "no such address"}
    assert "no such address" in str(caught.value)


async def test_a_task_that_was_cancelled_says_so(platform: Platform, tm: Taskmill) -> None:
    order = await tm.submit(kinds.echo.request(), delay_s=3600)
    waiting = asyncio.create_task(order.result(timeout=WAIT_S))
    await platform.tasks.cancel(order.id)
    with pytest.raises(TaskCancelled):
        await waiting


async def test_who_waits_too_long_gets_a_timeout_and_the_task_goes_on(platform: Platform, tm: Taskmill) -> None:
    order = await tm.submit(kinds.echo.request(), delay_s=3600)
    with pytest.raises(TimeoutError, match=f"door.echo {order.id}"):
        await order.result(timeout=0.05)
    assert await order.status() is State.SCHEDULED


async def test_a_duplicate_is_the_task_that_is_there(platform: Platform, tm: Taskmill) -> None:
    first = await tm.submit(kinds.once.request("a"))
    second = await tm.submit(kinds.once.request("a"))
    third = await tm.submit(kinds.once.request("a", text="new"), unique=Unique(by=["to"], on_duplicate="replace"))
    assert (first.duplicate, second.duplicate, third.duplicate) == (False, True, True)
    assert (second.replaced, third.replaced) == (False, True)
    assert {first.id, second.id, third.id} == {first.id}
    row = await live(platform, first.id)
    assert row is not None
    assert decoded(row["args"]) == {"to": "a", "text": "new"}


@pytest.mark.parametrize(
    ("request_", "options", "sort", "code"),
    [
        (TaskRequest("door.none", {}), {}, NotFoundError, Code.KIND_NOT_FOUND),
        (TaskRequest("door.add", {"a": "x", "b": 1}), {}, InputError, Code.ARGS_INVALID),
        (TaskRequest("door.add", {"a": 1, "b": 1}), {"priority": 9}, InputError, Code.INVALID_REQUEST),
        (TaskRequest("door.add", {"a": 1, "b": 1}), {"colour": 9}, InputError, Code.INVALID_REQUEST),
        (TaskRequest("door.once", {"to": "a"}), {"unique": Unique(on_duplicate="refuse")}, ConflictError, Code.UNIQUE_TAKEN),
        (TaskRequest("door.keyed", {"user": 1}), {}, LimitError, Code.QUEUE_FULL),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
async def test_errors_are_those_of_rest(
    platform: Platform, tm: Taskmill, request_: TaskRequest[object], options: dict[str, object], sort: type, code: Code
) -> None:
    await platform.queues.put("keyed", QueuePolicyChange(max_backlog=1))
    await tm.submit(kinds.once.request("a"), unique=Unique())
    await platform.submit.submit(SubmitRequest(kind="door.keyed", args={"user": 1}))
    with pytest.raises(TaskmillError) as caught:
        await tm.submit(request_, **options)
    assert (type(caught.value), caught.value.code) == (sort, code)
    assert "index" not in caught.value.details
    hint = caught.value.hint()
    assert getattr(caught.value, "__notes__", []) == ([] if hint is None else [f"hint: {hint['en']}"])


async def test_many_wait_by_few_statements(at_work: Platform, tm: Taskmill) -> None:
    orders = [order async for order in tm.submit_many(kinds.echo.request(text=str(n)) for n in range(MANY))]
    before = tm.entrance.ends.looks
    results = await asyncio.gather(*(order.result(timeout=WAIT_S) for order in orders))
    assert results == [str(n) for n in range(MANY)]
    assert tm.entrance.ends.looks - before < MANY / 2


async def test_two_may_wait_for_the_same_and_one_may_give_up(at_work: Platform, tm: Taskmill) -> None:
    order = await tm.submit(kinds.echo.request(text="x"), delay_s=0.3)
    again = tm.order(order.id)
    impatient = asyncio.create_task(again.result())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await asyncio.gather(order.result(timeout=WAIT_S), tm.order(str(order.id)).result(timeout=WAIT_S)) == ["x", "x"]
    with pytest.raises(asyncio.CancelledError):
        await impatient


@pytest.mark.parametrize("ask", ["status", "result"])
async def test_a_task_that_is_nowhere_is_not_waited_for(tm: Taskmill, ask: str) -> None:
    order = tm.order(uuid4())
    with pytest.raises(NotFoundError) as caught:
        await getattr(order, ask)()
    assert caught.value.code is Code.TASK_NOT_FOUND


async def test_a_wait_outlasts_the_connections(at_work: Platform, tm: Taskmill) -> None:
    order = await tm.submit(kinds.echo.request(text="still"), delay_s=0.3)
    waiting = asyncio.create_task(order.result(timeout=WAIT_S))
    await asyncio.sleep(0)
    await at_work.database.pool.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()"
    )
    assert await waiting == "still"


async def test_another_event_loop_is_refused_whatever_it_asks(platform: Platform, tm: Taskmill, database_url: str) -> None:
    order = await tm.submit(kinds.echo.request())

    async def elsewhere() -> list[Code]:
        connection, codes = await asyncpg.connect(database_url), list[Code]()
        asked = (
            tm.submit(kinds.echo.request()),
            tm.submit(kinds.echo.request(), connection=connection),
            anext(tm.submit_many([kinds.echo.request()])),
            order.status(),
            order.result(),
        )
        for ask in asked:
            with pytest.raises(InputError, match=r"taskmill\.sync") as caught:
                await ask
            codes.append(caught.value.code)
        await connection.close()
        return codes

    assert set(await asyncio.to_thread(lambda: asyncio.run(elsewhere()))) == {Code.USAGE}
    assert await order.status() is State.AVAILABLE


async def test_closing_ends_the_waits(platform: Platform, database_url: str, broker_url: str) -> None:
    async with Taskmill(database_url=database_url, broker_url=broker_url) as door:
        order = await door.submit(kinds.echo.request(), delay_s=3600)
        waiting = asyncio.create_task(order.result())
        await asyncio.sleep(0)
    with pytest.raises(InputError, match="not open"):
        await waiting


async def test_it_opens_from_the_environment_and_as_often_as_one_likes(
    platform: Platform, database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKMILL_DATABASE_URL", database_url)
    monkeypatch.setenv("TASKMILL_BROKER_URL", broker_url)
    door = Taskmill()
    for _ in range(2):
        assert await door.open() is await door.open()
        assert await (await door.submit(kinds.echo.request())).status() is State.AVAILABLE
        await door.close()


@pytest.mark.parametrize("kind", [kinds.chain, kinds.chain_in_thread], ids=["coroutine", "thread"])
async def test_a_handler_submits_typed_requests_too(at_work: Platform, tm: Taskmill, kind: object) -> None:
    order = await tm.submit(kind.request("next"))  # type: ignore[attr-defined]
    following = tm.order(await order.result(timeout=WAIT_S))
    assert await following.result(timeout=WAIT_S) == "next"
    row = await history(at_work, following.id)
    assert row is not None
    assert row["tags"] == ["chained"]


async def test_the_gc_of_the_program_is_left_alone(tm: Taskmill) -> None:
    """`Platform.open` sets thresholds for servers; the fixture opened one, so only a fresh process can tell: test_importing."""
    order = await tm.submit(kinds.echo.request())
    assert order.id.version == 7
