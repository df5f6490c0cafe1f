"""Order as its users see it: submits, the engine at work, and why a task waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from taskmill import RetryPolicy, task
from taskmill.engine.periodic.releaser import Releaser
from taskmill.errors import Code, ConflictError, InputError, UnavailableError
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from tests.support import orders
from tests.support.engines import final, live, platform_of, running, submit
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
ran: list[int] = []


@task("shop.step", retry=RetryPolicy(max_attempts=1))
async def step(n: int = 0, fail: bool = False) -> int:
    ran.append(n)
    if fail:
        message = "as asked"
        raise ValueError(message)
    return n


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with platform_of(database_url, broker_url, step) as made:
        yield made


async def quiet(platform: Platform) -> None:
    """Wait until everything that a submit asked to be looked at was."""
    while platform.releaser.under_way:
        await asyncio.wait(platform.releaser.under_way)


async def state_of(platform: Platform, *ids: UUID) -> list[str | None]:
    await quiet(platform)
    return await orders.states(platform.database, ids)


async def codes(platform: Platform, task_id: UUID) -> list[str]:
    return [reason.code for reason in (await platform.tasks.get(task_id)).waiting]


async def test_steps_of_one_key_run_in_the_order_of_their_submits(database_url: str, broker_url: str) -> None:
    ran.clear()
    async with running(database_url, broker_url, step, concurrency=10) as platform:
        ids = [await submit(platform, "shop.step", {"n": n}, sequence_key="order-17") for n in range(20)]
        await final(platform, ids[-1])
    assert ran == list(range(20))


async def test_a_child_runs_after_its_parents_and_is_cancelled_with_one_that_fails(
    database_url: str, broker_url: str
) -> None:
    async with running(database_url, broker_url, step) as platform:
        good, bad = await submit(platform, "shop.step"), await submit(platform, "shop.step", {"fail": True})
        after = await submit(platform, "shop.step", depends_on=[good])
        never = await submit(platform, "shop.step", depends_on=[good, bad])
        anyway = await submit(platform, "shop.step", depends_on=[bad], on_parent_failure="run")
        found = [(await final(platform, each))["state"] for each in (after, never, anyway)]
    assert found == ["completed", "cancelled", "completed"]


async def test_why_it_waits_is_told(platform: Platform) -> None:
    parent = await submit(platform, "shop.step")
    first = await submit(platform, "shop.step", sequence_key="k", sequence_on_failure="stop")
    await quiet(platform)
    second = await submit(platform, "shop.step", sequence_key="k", depends_on=[parent])
    assert await state_of(platform, first, second) == ["available", "blocked"]
    assert {"NOT_ITS_TURN", "PARENTS_LIVE"} <= set(await codes(platform, second))
    words = str((await platform.tasks.get(second)).waiting)
    assert str(first) in words
    assert str(parent) in words
    await orders.run_as(platform.database, first, "shop.step", "discarded")
    assert "SEQUENCE_STOPPED" in await codes(platform, second)


async def test_a_failed_one_is_skipped_or_cancelled_and_only_if_it_stops_something(platform: Platform) -> None:
    ids = [await submit(platform, "shop.step", sequence_key="k", sequence_on_failure="stop") for _ in range(3)]
    await quiet(platform)
    await orders.run_as(platform.database, ids[0], "shop.step", "discarded")
    await platform.tasks.skip(ids[0])
    assert await state_of(platform, *ids) == ["discarded", "available", "blocked"]
    with pytest.raises(ConflictError) as caught:
        await platform.tasks.skip(ids[0])
    assert caught.value.code is Code.TASK_NOT_SKIPPABLE
    await orders.run_as(platform.database, ids[1], "shop.step", "discarded")
    assert (await platform.tasks.cancel(ids[1])).state == "discarded"
    assert await state_of(platform, *ids) == ["discarded", "discarded", "available"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"sequence_key": ""}, "sequence_key"),
        ({"sequence_key": "k" * 201}, "sequence_key"),
        ({"sequence_key": "a\x00"}, "sequence_key"),
        ({"sequence_on_failure": "stop"}, "sequence_on_failure"),
        ({"sequence_key": "k", "sequence_on_failure": "hope"}, "sequence_on_failure"),
        ({"on_parent_failure": "run"}, "on_parent_failure"),
        ({"depends_on": [UUID(int=1)], "on_parent_failure": "hope"}, "on_parent_failure"),
    ],
    ids=str,
)
async def test_what_does_not_fit_is_named(platform: Platform, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        await submit(platform, "shop.step", **options)
    assert (caught.value.code, caught.value.details["field"]) == (Code.INVALID_REQUEST, field)


async def test_a_key_of_200_characters_and_as_many_parents_as_may_be_are_taken(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, step, depends_on_max=3) as platform:
        ids = [await submit(platform, "shop.step") for _ in range(4)]
        assert await submit(platform, "shop.step", sequence_key="k" * 200, depends_on=[*ids[:3], ids[0]])
        with pytest.raises(InputError) as caught:
            await submit(platform, "shop.step", depends_on=ids)
    assert caught.value.details["field"] == "depends_on"


async def test_an_unknown_parent_fails_alone_in_its_group(platform: Platform) -> None:
    parent = await submit(platform, "shop.step")
    wanted = [[parent], [new_id()], [parent]]
    requests = [SubmitRequest(kind="shop.step", depends_on=of) for of in wanted]
    found = await asyncio.gather(*map(platform.submit.submit, requests), return_exceptions=True)
    assert [isinstance(each, InputError) for each in found] == [False, True, False]
    assert isinstance(found[1], InputError)
    assert found[1].code is Code.PARENT_NOT_FOUND
    with pytest.raises(InputError) as caught:
        await platform.submit.submit_many(requests)
    assert caught.value.details["index"] == 1


async def test_a_sequence_that_an_open_transaction_submits_to_is_busy_and_others_are_not(platform: Platform) -> None:
    async with platform.database.transaction() as theirs:
        await orders.add(theirs, orders.new_task("k"))
        busy = asyncio.gather(*(submit(platform, "shop.step", sequence_key="k") for _ in range(8)), return_exceptions=True)
        assert await asyncio.wait_for(submit(platform, "shop.step", sequence_key="other"), 1)
        assert await asyncio.wait_for(submit(platform, "shop.step"), 1)
        found = await busy
    assert {each.code for each in found if isinstance(each, UnavailableError)} == {Code.SEQUENCE_BUSY}
    assert len(found) == 8


async def test_a_crowd_on_one_sequence_is_never_told_that_it_is_busy(database_url: str, broker_url: str) -> None:
    """Only a transaction that stays open is told; many short ones, of several processes, get through one after the other."""
    one, two = (platform_of(database_url, broker_url, step) for _ in range(2))
    async with one as first, two as second:
        crowd = [submit([first, second][n % 2], "shop.step", sequence_key="hot") for n in range(400)]
        assert len(set(await asyncio.gather(*crowd))) == 400
        await quiet(first)
        await quiet(second)
        numbers = "select count(distinct sequence_no) from taskmill.tasks where sequence_key = 'hot'"
        assert await first.database.pool.fetchval(numbers) == 400


async def test_one_whose_unique_key_is_held_holds_up_no_other_of_its_sequence(platform: Platform) -> None:
    async with platform.database.transaction() as theirs:
        await theirs.execute(
            """insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, unique_key, unique_while)
               values ($1, 'default', 'shop.step', 'available', '{}', 1000, 'u', 'live')""",
            new_id(),
        )
        held = asyncio.create_task(submit(platform, "shop.step", sequence_key="k", unique_key="u"))
        others = asyncio.gather(*(submit(platform, "shop.step", sequence_key="k") for _ in range(5)))
        assert len(await asyncio.wait_for(others, 5)) == 5
        with pytest.raises(UnavailableError) as caught:
            await held
    assert caught.value.code is Code.UNIQUE_BUSY


async def test_many_connections_at_once_leave_exactly_one_with_the_turn(platform: Platform) -> None:
    await asyncio.gather(*(submit(platform, "shop.step", sequence_key=f"k{n % 3}") for n in range(60)))
    await quiet(platform)
    await Releaser(platform.database, platform.releaser).run_once()
    rows = await platform.database.pool.fetch(
        "select sequence_key, count(*) filter (where state = 'available') as free, count(*) as n from taskmill.tasks group by 1"
    )
    assert {row["sequence_key"]: (row["free"], row["n"]) for row in rows} == {f"k{n}": (1, 20) for n in range(3)}


async def test_a_released_task_of_a_queue_with_limits_lines_up(platform: Platform) -> None:
    await platform.database.pool.execute("update taskmill.queues set max_running = 1")
    platform.limits.forget()
    parent = await submit(platform, "shop.step")
    child = await submit(platform, "shop.step", depends_on=[parent], on_parent_failure="run")
    await quiet(platform)
    await platform.tasks.cancel(parent)

    async def has_slot() -> bool:
        row = await live(platform, child)
        return row is not None and row["slot"] == 2

    await eventually(has_slot, why="the child has the slot")


async def test_a_unique_task_of_a_sequence_is_there_once_and_leaves_no_parents_behind(platform: Platform) -> None:
    parent = await submit(platform, "shop.step")
    options = {"sequence_key": "k", "depends_on": [parent], "unique_key": "u"}
    first = await submit(platform, "shop.step", **options)
    assert await submit(platform, "shop.step", **options) == first
    assert await platform.database.pool.fetchval("select count(*) from taskmill.task_dependencies") == 1
