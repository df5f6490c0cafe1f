"""A submit in the caller's transaction, by every driver that the door knows: together or not at all, and errors harm nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskmill import Taskmill, TaskRequest
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.controls.unique import Unique
from taskmill.errors import Code, NotFoundError, TaskmillError
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from tests.support import door_kinds as kinds
from tests.support import visitors
from tests.support.databases import execute, in_thread
from tests.support.door_kinds import Sum
from tests.support.engines import live, stage
from tests.support.visitors import VISITS, Visit

pytestmark = pytest.mark.anyio
WAIT_S = 60.0


@pytest.fixture(params=VISITS.values(), ids=VISITS.keys())
def visit(request: pytest.FixtureRequest, database_url: str) -> Iterator[Visit]:
    in_thread(execute(database_url, visitors.TABLE))
    return request.param


async def rows(platform: Platform) -> tuple[int, int]:
    """Return how many rows the application has, and how many tasks there are, as others see it."""
    pool = platform.database.pool
    return await pool.fetchval(visitors.COUNT), await pool.fetchval("select count(*) from taskmill.tasks")


async def test_both_or_neither(platform: Platform, tm: Taskmill, visit: Visit, database_url: str) -> None:
    async with visit(database_url) as guest:
        await guest.write("an order")
        order = await tm.submit(kinds.once.request("a"), connection=guest.connection, unique=Unique(period_s=60))
        assert (order.duplicate, order.kind) == (False, "door.once")
        with pytest.raises(NotFoundError):
            await order.status()
        assert await rows(platform) == (0, 0)
        await guest.rollback()
        assert await rows(platform) == (0, 0)
        again = await tm.submit(kinds.once.request("a"), connection=guest.connection, unique=Unique(period_s=60))
        assert (again.duplicate, again.id == order.id) == (False, False)
        await guest.write("an order")
        await guest.commit()
    assert await rows(platform) == (1, 1)
    row = await live(platform, again.id)
    assert row is not None
    assert (row["queue"], row["state"], row["ticket_at"]) == ("mail", "available", None)
    assert (await stage(platform))["fed"] == 1


async def test_it_runs_after_the_commit_and_its_result_is_typed(
    at_work: Platform, tm: Taskmill, visit: Visit, database_url: str
) -> None:
    async with visit(database_url) as guest:
        order = await tm.submit(kinds.add.request(2, 3), connection=guest.connection, priority=1, tags=["x"])
        await guest.commit()
    assert await order.result(timeout=WAIT_S) == Sum(5)


REFUSED = [
    (TaskRequest("door.once", {"to": "a"}), {"unique": Unique(on_duplicate="refuse")}, Code.UNIQUE_TAKEN),
    (TaskRequest("door.keyed", {"user": 1}), {}, Code.QUEUE_FULL),
    (TaskRequest("door.none", {}), {}, Code.KIND_NOT_FOUND),
    (TaskRequest("door.add", {"a": "x", "b": 1}), {}, Code.ARGS_INVALID),
    (TaskRequest("door.add", {"a": 1, "b": 1}), {"priority": 9}, Code.INVALID_REQUEST),
]


async def test_a_refused_submit_leaves_the_transaction_as_it_was(
    platform: Platform, tm: Taskmill, visit: Visit, database_url: str
) -> None:
    await platform.queues.put("keyed", QueuePolicyChange(max_backlog=1))
    await platform.submit.submit(SubmitRequest(kind="door.keyed", args={"user": 1}))
    holder = (await platform.submit.submit(SubmitRequest(kind="door.once", args={"to": "a"}, unique=Unique()))).id
    async with visit(database_url) as guest:
        await guest.write("before")
        for request, options, code in REFUSED:
            with pytest.raises(TaskmillError) as caught:
                await tm.submit(request, connection=guest.connection, **options)
            assert caught.value.code is code, caught.value
            assert "index" not in caught.value.details
            if code is Code.UNIQUE_TAKEN:
                assert caught.value.details["id"] == str(holder)
            if code is Code.QUEUE_FULL:
                assert (caught.value.details["queue"], caught.value.details["limit"]) == ("keyed", 1)
        await guest.write("after")
        await guest.commit()
    assert await rows(platform) == (2, 2)


async def test_a_key_that_an_open_transaction_holds_is_busy_after_a_second(
    platform: Platform, tm: Taskmill, visit: Visit, database_url: str
) -> None:
    async with visitors.by_asyncpg(database_url) as other, visit(database_url) as guest:
        await tm.submit(kinds.once.request("a"), connection=other.connection)
        await guest.write("before")
        with pytest.raises(TaskmillError) as caught:
            await tm.submit(kinds.once.request("a"), connection=guest.connection)
        assert (caught.value.code, caught.value.details["key"]) == (Code.UNIQUE_BUSY, "door.once:…")
        assert not (await tm.submit(kinds.once.request("b"), connection=guest.connection)).duplicate
        await guest.commit()
        await other.rollback()
    assert await rows(platform) == (1, 1)


async def test_duplicates_are_told_inside_of_a_transaction_too(
    platform: Platform, tm: Taskmill, visit: Visit, database_url: str
) -> None:
    there = (await platform.submit.submit(SubmitRequest(kind="door.once", args={"to": "there"}))).id
    async with visit(database_url) as guest:
        told = [
            await tm.submit(kinds.once.request(to, text=text), connection=guest.connection, unique=rule)
            for to, text, rule in (
                ("there", "", Unique(by=["to"])),
                ("new", "", Unique(by=["to"])),
                ("new", "", Unique(by=["to"])),
                ("new", "other", Unique(by=["to"], on_duplicate="replace")),
                ("there", "other", Unique(by=["to"], on_duplicate="replace")),
            )
        ]
        await guest.commit()
    assert [(order.duplicate, order.replaced) for order in told] == [
        (True, False),
        (False, False),
        (True, False),
        (True, True),
        (True, True),
    ]
    assert [order.id for order in told] == [there, told[1].id, told[1].id, told[1].id, there]


async def test_many_are_one_statement_a_chunk(platform: Platform, tm: Taskmill, visit: Visit, database_url: str) -> None:
    tm.entrance.chunk = 4
    async with visit(database_url) as guest:
        requests = [kinds.once.request(str(n % 7)) for n in range(10)]
        orders = [order async for order in tm.submit_many(requests, connection=guest.connection)]
        assert [order.duplicate for order in orders] == [False] * 7 + [True] * 3
        assert [order.id for order in orders[7:]] == [order.id for order in orders[:3]]
        refused = [kinds.once.request(to).having(unique=Unique(by=["to"], on_duplicate="refuse")) for to in "ab1"]
        with pytest.raises(TaskmillError) as caught:
            [order async for order in tm.submit_many(refused, connection=guest.connection)]
        assert (caught.value.code, caught.value.details["index"]) == (Code.UNIQUE_TAKEN, 2)
        await guest.write("with them")
        await guest.commit()
    assert await rows(platform) == (1, 7)
