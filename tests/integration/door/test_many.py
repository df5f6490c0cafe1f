"""`submit_many`: by the chunk, in order, as they come; an error says which one it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from taskmill import Taskmill, TaskRequest
from taskmill.errors import Code, InputError
from taskmill.services.platform import Platform
from tests.support import door_kinds as kinds

pytestmark = pytest.mark.anyio
CHUNK = 5


@pytest.fixture(autouse=True)
def small_chunks(tm: Taskmill) -> None:
    tm.entrance.chunk = CHUNK


async def stored(platform: Platform) -> int:
    return await platform.database.pool.fetchval("select count(*) from taskmill.tasks")


def wanted(count: int, bad: int | None = None) -> Iterator[TaskRequest[object]]:
    for n in range(count):
        yield TaskRequest("door.add", {"a": "x", "b": n}) if n == bad else kinds.add.request(n, 0)


async def later(count: int) -> AsyncIterator[TaskRequest[str]]:
    for n in range(count):
        yield kinds.echo.request(text=str(n))


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
async def test_each_gets_its_order_in_turn(platform: Platform, tm: Taskmill, count: int) -> None:
    orders = [order async for order in tm.submit_many(wanted(count), priority=3)]
    assert len({order.id for order in orders}) == count
    rows = await platform.database.pool.fetch("select id, args->>'a' as a, priority from taskmill.tasks order by id")
    assert [row["id"] for row in rows] == sorted(order.id for order in orders)
    found = {row["id"]: row["a"] for row in rows}
    assert [found[order.id] for order in orders] == [str(n) for n in range(count)]
    assert {row["priority"] for row in rows} <= {3}


async def test_an_asynchronous_source_is_as_good(platform: Platform, tm: Taskmill) -> None:
    assert len([order async for order in tm.submit_many(later(2 * CHUNK + 1))]) == 2 * CHUNK + 1


async def test_an_error_names_the_place_and_leaves_what_was_before(platform: Platform, tm: Taskmill) -> None:
    orders = []
    with pytest.raises(InputError) as caught:
        async for order in tm.submit_many(wanted(20, bad=CHUNK + 2)):
            orders.append(order)  # noqa: PERF401 - 出错之前给了哪些，正是要看的
    assert (caught.value.code, caught.value.details["index"]) == (Code.ARGS_INVALID, CHUNK + 2)
    assert len(orders) == CHUNK == await stored(platform)


async def test_an_option_that_does_not_fit_names_the_first(tm: Taskmill) -> None:
    with pytest.raises(InputError) as caught:
        [order async for order in tm.submit_many(wanted(3), colour=1)]  # type: ignore[call-arg]
    assert caught.value.details["index"] == 0


async def test_nothing_is_submitted_before_it_is_asked_for(platform: Platform, tm: Taskmill) -> None:
    async with aclosing(tm.submit_many(wanted(20))) as orders:
        await anext(orders)
        assert await stored(platform) == CHUNK
    assert await stored(platform) == CHUNK


async def test_options_of_each_request_count(platform: Platform, tm: Taskmill) -> None:
    requests = [kinds.echo.request(text=str(n)).having(unique_key=f"k{n % 2}") for n in range(4)]
    assert [order.duplicate async for order in tm.submit_many(requests)] == [False, False, True, True]


async def test_progress_is_drawn_for_who_wants_it(tm: Taskmill, capsys: pytest.CaptureFixture[str]) -> None:
    assert len([order async for order in tm.submit_many([kinds.echo.request()] * 7, progress=True)]) == 7
    assert "7/7" in capsys.readouterr().err
