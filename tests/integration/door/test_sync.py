"""The blocking door: the same from programs and threads without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

import taskmill.sync
from taskmill import TaskFailed
from taskmill.errors import Code, InputError, NotFoundError, SetupError, TaskmillError
from taskmill.services.platform import Platform
from taskmill.states import State
from tests.support import door_kinds as kinds
from tests.support import visitors
from tests.support.databases import execute, in_thread
from tests.support.door_kinds import Sum

pytestmark = pytest.mark.anyio
WAIT_S = 60.0
Door = taskmill.sync.Taskmill
T = TypeVar("T")


async def apart(door: Door, work: Callable[[Door], T]) -> T:
    """Run `work` with the door open, in another thread than the platform's loop."""

    def run() -> T:
        with door as opened:
            return work(opened)

    return await asyncio.to_thread(run)


async def test_results_and_errors_are_the_same(at_work: Platform, blocking: Door) -> None:
    def work(door: Door) -> None:
        order = door.submit(kinds.add.request(2, 3), priority=1)
        assert order.result(timeout=WAIT_S) == Sum(5)
        assert order.status() is State.COMPLETED
        assert door.order(order.id).result() == {"total": 5}
        assert door.submit("door.add", {"a": 1, "b": 1}).result(timeout=WAIT_S) == {"total": 2}
        with pytest.raises(TaskFailed, match="oh"):
            door.submit(kinds.fail.request("oh")).result(timeout=WAIT_S)
        with pytest.raises(TimeoutError):
            door.submit(kinds.echo.request(), delay_s=3600).result(timeout=0.01)
        with pytest.raises(InputError) as caught:
            door.submit(kinds.echo.request(), priority=9)
        assert caught.value.code is Code.INVALID_REQUEST

    await apart(blocking, work)


async def test_threads_share_a_door(at_work: Platform, blocking: Door) -> None:
    def work(door: Door) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(lambda n: door.submit(kinds.echo.request(text=str(n))).result(timeout=WAIT_S), range(50))
            assert list(found) == [str(n) for n in range(50)]

    await apart(blocking, work)


async def test_many_come_by_the_chunk(platform: Platform, blocking: Door) -> None:
    def work(door: Door) -> None:
        door._door.entrance.chunk = 4
        assert len(list(door.submit_many(kinds.add.request(n, 0) for n in range(10)))) == 10
        with pytest.raises(TaskmillError) as caught:
            list(door.submit_many(kinds.once.request("a" if n != 6 else "\x00") for n in range(10)))
        assert (caught.value.code, caught.value.details["index"]) == (Code.ARGS_INVALID, 6)

    await apart(blocking, work)
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 11


@pytest.mark.parametrize("name", visitors.BLOCKING)
async def test_the_callers_transaction_is_used_in_the_callers_thread(
    at_work: Platform, blocking: Door, database_url: str, name: str
) -> None:
    in_thread(execute(database_url, visitors.TABLE))

    def work(door: Door) -> None:
        async def visit() -> None:
            async with visitors.BLOCKING[name](database_url) as guest:
                await guest.write("gone")
                with pytest.raises(NotFoundError) as caught:
                    door.submit("door.none", connection=guest.connection)
                assert "index" not in caught.value.details
                assert len(caught.value.__notes__) == 1
                gone = door.submit(kinds.once.request("a"), connection=guest.connection)
                await guest.rollback()
                await guest.write("kept")
                kept = door.submit(kinds.once.request("a"), connection=guest.connection)
                assert (gone.duplicate, kept.duplicate, gone.id == kept.id) == (False, False, False)
                named = door.submit("door.add", {"a": 1, "b": 2}, connection=guest.connection)
                many = list(door.submit_many([kinds.echo.request(text="m")] * 3, connection=guest.connection))
                with pytest.raises(TaskmillError):
                    door.submit(kinds.once.request("a"), connection=guest.connection, priority=9)
                await guest.commit()
                assert kept.result(timeout=WAIT_S) == ""
                assert named.result(timeout=WAIT_S) == {"total": 3}
                assert [order.result(timeout=WAIT_S) for order in many] == ["m"] * 3

        asyncio.run(visit())

    await apart(blocking, work)
    assert await at_work.database.pool.fetchval(visitors.COUNT) == 1


async def test_a_session_in_its_own_block(platform: Platform, blocking: Door, database_url: str) -> None:
    """As the guide writes it: the block commits both, or an exception takes back both."""

    def work(door: Door) -> None:
        engine = create_engine(visitors.with_driver(database_url, "psycopg"))
        with Session(engine) as session, session.begin():
            session.execute(text(visitors.TABLE))
            session.execute(text(visitors.WRITE.format("an order")))
            door.submit(kinds.once.request("a"), connection=session)
        with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
            door.submit(kinds.once.request("b"), connection=session)
            raise ZeroDivisionError
        with psycopg.connect(database_url) as connection:
            door.submit(kinds.once.request("c"), connection=connection)
        engine.dispose()

    await apart(blocking, work)
    found = await platform.database.pool.fetch("select args->>'to' as a from taskmill.tasks order by 1")
    assert [row["a"] for row in found] == ["a", "c"]


async def test_a_connection_that_awaits_is_refused_and_nothing_is_stored(
    platform: Platform, blocking: Door, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)

    def work(door: Door) -> None:
        with pytest.raises(InputError, match=r"taskmill\.Taskmill") as caught:
            door.submit(kinds.echo.request(), connection=connection)
        assert caught.value.code is Code.USAGE

    await apart(blocking, work)
    await connection.close()
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0


async def test_it_opens_again_and_a_failed_opening_leaves_no_thread(platform: Platform, blocking: Door) -> None:
    def work() -> None:
        for _ in range(2):
            with blocking as door:
                door.submit(kinds.echo.request())
        with pytest.raises(SetupError):
            taskmill.sync.Taskmill(database_url="nonsense", broker_url="redis://127.0.0.1:1/0").open()

    await asyncio.to_thread(work)
