"""Order through the door: the same by its own connections, in the transaction of a caller, and without asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

import taskmill.sync
from taskmill import Order, TaskCancelled, Taskmill
from taskmill.controls.unique import Unique
from taskmill.engine.periodic.looper import Looper
from taskmill.engine.periodic.releaser import Releaser
from taskmill.errors import Code, TaskmillError
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.states import State
from tests.support import door_kinds as kinds
from tests.support import orders, visitors
from tests.support.visitors import BLOCKING, VISITS

pytestmark = pytest.mark.anyio
WAIT_S = 60.0
NOBODY = new_id()
STOP: dict[str, Any] = {"sequence_key": "k", "sequence_on_failure": "stop"}


@asynccontextmanager
async def alone(_url: str) -> AsyncIterator[None]:
    """No connection of the caller."""
    yield None


WAYS: dict[str, Callable[[str], Any]] = {"of its own": alone, **VISITS}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_what_is_submitted_in_order_waits_in_order(
    platform: Platform, tm: Taskmill, way: Callable[[str], Any], database_url: str
) -> None:
    async with way(database_url) as guest:
        connection = None if guest is None else guest.connection
        first = await tm.submit(kinds.fail.request("first"), connection=connection, **STOP)
        second = await tm.submit(kinds.echo.request(text="second"), connection=connection, sequence_key="k")
        never = await tm.submit(kinds.echo.request(), connection=connection, depends_on=[first.id])
        anyway = await tm.submit(kinds.echo.request(), connection=connection, depends_on=[first.id], on_parent_failure="run")
        if guest is not None:
            assert await orders.states(platform.database, [first.id, second.id]) == [None, None]
            await guest.commit()
    ids = [order.id for order in (first, second, never, anyway)]
    await orders.let_go(platform.database)
    assert await orders.states(platform.database, ids) == ["available", "blocked", "blocked", "blocked"]
    assert await second.status() is State.BLOCKED
    await orders.run_as(platform.database, first.id, "door.fail", "discarded")
    assert await orders.states(platform.database, ids) == ["discarded", "blocked", "cancelled", "available"]
    with pytest.raises(TaskCancelled, match="ParentFailed"):
        await never.result(timeout=WAIT_S)
    await platform.tasks.skip(first.id)
    assert await second.status() is State.AVAILABLE


async def test_a_result_is_waited_for_while_its_task_is_blocked(at_work: Platform, tm: Taskmill) -> None:
    chain: list[Order[str]] = []
    for n in range(5):
        after: dict[str, Any] = {"depends_on": [chain[-1].id]} if chain else {}
        chain.append(await tm.submit(kinds.echo.request(text=str(n)), sequence_key="k", **after))
    assert await asyncio.gather(*(order.result(timeout=WAIT_S) for order in chain)) == ["0", "1", "2", "3", "4"]


async def test_many_of_a_sequence_keep_their_order(at_work: Platform, tm: Taskmill) -> None:
    asked = [kinds.echo.request(text=str(n)).having(sequence_key=f"k{n % 3}") for n in range(12)]
    placed = [order async for order in tm.submit_many(asked)]
    await asyncio.gather(*(order.result(timeout=WAIT_S) for order in placed))
    rows = await at_work.database.pool.fetch(
        "select id from taskmill.task_history where sequence_key = 'k1' order by started_at"
    )
    assert [row["id"] for row in rows] == [order.id for order in placed[1::3]]


REFUSED: list[tuple[dict[str, Any], Code, str]] = [
    ({"depends_on": [NOBODY]}, Code.PARENT_NOT_FOUND, "depends_on[0]"),
    ({"depends_on": [UUID(int=n) for n in range(101)]}, Code.INVALID_REQUEST, "depends_on"),
    ({"sequence_key": ""}, Code.INVALID_REQUEST, "sequence_key"),
    ({"sequence_on_failure": "stop"}, Code.INVALID_REQUEST, "sequence_on_failure"),
    ({"on_parent_failure": "run"}, Code.INVALID_REQUEST, "on_parent_failure"),
    ({"sequence_key": "k", "sequence_on_failure": "hope"}, Code.INVALID_REQUEST, "submit"),
]


@pytest.mark.parametrize("name", ["of its own", "asyncpg", "sqlalchemy session"])
async def test_what_does_not_fit_is_told_the_same_and_stores_nothing(
    platform: Platform, tm: Taskmill, name: str, database_url: str
) -> None:
    async with WAYS[name](database_url) as guest:
        connection = None if guest is None else guest.connection
        for options, code, field in REFUSED:
            with pytest.raises(TaskmillError) as caught:
                await tm.submit(kinds.echo.request(), connection=connection, **options)
            assert (caught.value.code, caught.value.details["field"]) == (code, field)
            if code is Code.PARENT_NOT_FOUND:
                assert caught.value.details["id"] == str(NOBODY)
        parent = await tm.submit(kinds.echo.request(), connection=connection)
        asked = [kinds.echo.request().having(depends_on=[each]) for each in (parent.id, NOBODY)]
        with pytest.raises(TaskmillError) as caught:
            [order async for order in tm.submit_many(asked, connection=connection)]
        assert (caught.value.code, caught.value.details["index"]) == (Code.PARENT_NOT_FOUND, 1)
        if guest is not None:
            await guest.commit()
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 1
    assert await platform.database.pool.fetchval("select count(*) from taskmill.sequences") == 0


async def test_a_sequence_that_an_open_transaction_submits_to_is_busy_after_a_second(
    platform: Platform, tm: Taskmill, database_url: str
) -> None:
    async with visitors.by_asyncpg(database_url) as other, visitors.by_session(database_url) as guest:
        await tm.submit(kinds.once.request("a"), connection=other.connection, sequence_key="held")
        for connection in (None, guest.connection):
            for request, key, code, told in (
                (kinds.echo.request(), "held", Code.SEQUENCE_BUSY, "held"),
                (kinds.once.request("b"), "held", Code.SEQUENCE_BUSY, "held"),
                (kinds.once.request("a"), "free", Code.UNIQUE_BUSY, "door.once:…"),
            ):
                with pytest.raises(TaskmillError) as caught:
                    await tm.submit(request, connection=connection, sequence_key=key)
                assert (caught.value.code, caught.value.details["key"]) == (code, told)
        await tm.submit(kinds.echo.request(), connection=guest.connection, sequence_key="free")
        await guest.commit()
        await other.commit()


async def test_a_duplicate_in_a_transaction_keeps_its_order(platform: Platform, tm: Taskmill, database_url: str) -> None:
    once = Unique(by=["to"], on_duplicate="replace")
    first = await tm.submit(kinds.echo.request(), sequence_key="k")
    async with visitors.by_asyncpg(database_url) as guest:
        asked = {"connection": guest.connection, "unique": once}
        second = await tm.submit(kinds.once.request("a"), sequence_key="k", **asked)  # type: ignore[arg-type]
        again = await tm.submit(kinds.once.request("a", text="new"), depends_on=[first.id], **asked)  # type: ignore[arg-type]
        await guest.commit()
    assert (again.id, again.duplicate, again.replaced) == (second.id, True, True)
    await orders.let_go(platform.database)
    assert await second.status() is State.BLOCKED
    await orders.run_as(platform.database, first.id, "door.echo", "completed")
    assert await second.status() is State.AVAILABLE


@asynccontextmanager
async def releasing(platform: Platform) -> AsyncIterator[None]:
    """A releaser that loops: nobody else knows of the commit of a caller."""
    looper = Looper(Releaser(platform.database, platform.releaser))
    looper.start()
    try:
        yield
    finally:
        await looper.stop()


@pytest.mark.parametrize("name", ["of its own", *BLOCKING])
async def test_the_same_without_asyncio(
    at_work: Platform, blocking: taskmill.sync.Taskmill, database_url: str, name: str
) -> None:
    async def visit() -> list[Any]:
        async with WAYS[name](database_url) as guest:
            connection = None if guest is None else guest.connection
            parent = blocking.submit(kinds.add.request(1, 2), connection=connection, sequence_key="k")
            after: dict[str, Any] = {"sequence_key": "k", "depends_on": [parent.id]}
            child = blocking.submit("door.echo", {"text": "child"}, connection=connection, **after)
            if guest is not None:
                await guest.commit()
        return [order.result(timeout=WAIT_S) for order in (parent, child)]

    def apart() -> list[Any]:
        with blocking:
            return asyncio.run(visit())

    async with releasing(at_work):
        assert await asyncio.to_thread(apart) == [kinds.Sum(3), "child"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_a_fairness_key_comes_from_the_kind_or_the_submit(
    platform: Platform, tm: Taskmill, way: Callable[[str], Any], database_url: str
) -> None:
    async with way(database_url) as guest:
        connection = None if guest is None else guest.connection
        made = [
            await tm.submit(kinds.keyed.request(7), connection=connection),
            await tm.submit(kinds.keyed.request(7), connection=connection, fairness_key="other"),
        ]
        if guest is not None:
            await guest.commit()
    found = await platform.database.pool.fetch("select id, fairness_key, slot from taskmill.tasks order by id")
    assert [(row["id"], row["fairness_key"]) for row in found] == [(made[0].id, "f-7"), (made[1].id, "other")]
    assert {row["slot"] for row in found} <= {2, 3}
