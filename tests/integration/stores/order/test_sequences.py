"""Sequences: one at a time, in the order of commit, whatever becomes of those before."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from taskmill.engine import constants as ec
from taskmill.ids import new_id
from taskmill.states import By, State
from taskmill.stores.database import Database
from taskmill.stores.tasks import control, partitions, stage
from taskmill.stores.tasks.order import sequences
from taskmill.stores.tasks.unique import KeyHeldError
from tests.support import orders
from tests.support.orders import LONG_AGO, add, let_go, new_task, run, states

pytestmark = pytest.mark.anyio
LOOK_MS = 50


@pytest.fixture(autouse=True)
async def today(database: Database) -> None:
    async with database.pool.acquire() as connection:
        await partitions.ensure_partitions(connection, 1)


async def sequence(database: Database, n: int, **options: bool) -> list[UUID]:
    """Submit n tasks of one sequence, each in a transaction of its own, and give the turn."""
    async with database.pool.acquire() as connection:
        ids = [(await add(connection, new_task("k", **options)))[0] for _ in range(n)]
    await let_go(database)
    return ids


async def test_the_first_may_run_and_the_end_of_each_lets_the_next_go(database: Database) -> None:
    ids = await sequence(database, 3)
    for done in range(3):
        assert await states(database, ids) == ["completed"] * done + ["available"] + ["blocked"] * (2 - done)
        assert (await run(database, ids[done])).ids == set(ids[done + 1 : done + 2])
    assert await database.pool.fetchval("select count(*) from taskmill.sequence_turns") == 0


async def test_a_batch_is_in_its_own_order_whatever_the_ids(database: Database) -> None:
    tasks = [new_task("k") for _ in range(5)]
    tasks.reverse()
    async with database.pool.acquire() as connection:
        ids = await add(connection, *tasks)
    await let_go(database)
    for task_id in ids:
        await run(database, task_id)


@pytest.mark.parametrize("state", [State.RETRYABLE, State.SCHEDULED], ids=str)
async def test_one_that_waits_for_its_next_try_keeps_its_place(database: Database, state: State) -> None:
    first, second = await sequence(database, 2)
    assert not (await run(database, first, state)).ids
    await let_go(database)
    assert await states(database, [first, second]) == [state, "blocked"]
    await stage.stage_due(database.pool, 10, LONG_AGO)
    assert (await run(database, first)).ids == {second}


async def test_a_crash_lets_nobody_pass(database: Database) -> None:
    first, second = await sequence(database, 2)
    worker = new_id()
    async with database.pool.acquire() as connection:
        claim_no = await orders.start(connection, first, worker)
    assert claim_no is not None
    assert not (await orders.end(database, first, claim_no, worker, State.AVAILABLE, By.RESCUE)).ids
    assert await states(database, [first, second]) == ["available", "blocked"]


async def test_after_a_failure_it_goes_on_or_stops_until_the_failed_one_is_retried(database: Database) -> None:
    first, second = await sequence(database, 2)
    assert (await run(database, first, State.DISCARDED)).ids == {second}
    await run(database, second)
    first, second = await sequence(database, 2, stop=True)
    assert not (await run(database, first, State.DISCARDED)).ids
    assert await sequences.stopped(database.pool, 10) == [("k", first, 1)]
    async with database.transaction() as connection:
        reopened = await control.reopen(connection, first, new_id())
    assert reopened is not None
    assert reopened.state is State.AVAILABLE
    assert await states(database, [first, second]) == ["available", "blocked"]
    assert (await run(database, first)).ids == {second}


async def test_a_skip_lets_it_go_on_once(database: Database) -> None:
    first, second = await sequence(database, 2, stop=True)
    await run(database, first, State.DISCARDED)
    async with database.transaction() as connection:
        made = await control.skip(connection, first)
        assert made is not None
        assert made.ids == {second}
        assert await control.skip(connection, first) is None


async def test_a_cancelled_head_passes_its_turn_on_even_where_failures_stop(database: Database) -> None:
    first, second, third = await sequence(database, 3, stop=True)
    async with database.transaction() as connection:
        done = await control.cancel(connection, second, new_id())
        assert done is not None
        assert not done.let_go.ids
        done = await control.cancel(connection, first, new_id())
        assert done is not None
        assert done.let_go.ids == {third}


async def test_one_that_expires_is_a_failure_also_before_its_turn(database: Database) -> None:
    now = await database.pool.fetchval("select now()")
    async with database.pool.acquire() as connection:
        first, second, third = await add(connection, new_task("k"), new_task("k", stop=True, expires_at=now), new_task("k"))
    await let_go(database)
    async with database.transaction() as connection:
        rows, made = await stage.expire(connection, 10, new_id(), LONG_AGO)
    assert [row["id"] for row in rows] == [second]
    assert not made.ids
    assert not (await run(database, first)).ids
    assert await states(database, [third]) == ["blocked"]


async def test_a_retry_of_an_earlier_one_waits_for_the_turn_and_is_next(database: Database) -> None:
    first, second, third = await sequence(database, 3)
    await run(database, first)
    async with database.transaction() as connection:
        reopened = await control.reopen(connection, first, new_id())
    assert reopened is not None
    assert reopened.state is State.BLOCKED
    assert (await run(database, second)).ids == {first}
    assert (await run(database, first)).ids == {third}


async def test_an_open_transaction_makes_the_next_submit_wait_and_nobody_else(database: Database) -> None:
    (running,) = await sequence(database, 1)
    async with database.pool.acquire() as theirs, database.pool.acquire() as ours:
        open_one = theirs.transaction()
        await open_one.start()
        (mine,) = await add(theirs, new_task("k"))
        with pytest.raises(KeyHeldError) as caught:
            await add(ours, new_task("k"), wait_ms=LOOK_MS)
        assert caught.value.sequence
        await add(ours, new_task("other"), wait_ms=LOOK_MS)
        await asyncio.wait_for(run(database, running), 5)  # 结算不等提交的人
        await open_one.commit()
    await let_go(database)
    assert await states(database, [mine]) == ["available"]


async def test_a_submit_whose_submitter_dies_is_found(database: Database) -> None:
    async with database.pool.acquire() as connection:
        (task_id,) = await add(connection, new_task("k"))
    assert await states(database, [task_id]) == ["blocked"]
    assert (await let_go(database)).ids == {task_id}
    assert await sequences.fresh(database.pool, "", ec.RELEASE_BATCH) == {}


async def test_a_turn_that_an_older_program_lost_is_found(database: Database) -> None:
    first, second = await sequence(database, 2)
    await database.pool.execute("delete from taskmill.tasks where id = $1", first)
    assert (await sequences.lost(database.pool, "", 10))[0] == ["k"]
    async with database.transaction() as connection:
        assert await sequences.advance(connection, ["k"]) == [second]
    assert (await sequences.lost(database.pool, "", 10))[0] == []


async def test_sequences_without_tasks_are_pruned_and_numbers_only_grow(database: Database) -> None:
    (first,) = await sequence(database, 1)
    number = await database.pool.fetchval("select sequence_no from taskmill.tasks where id = $1", first)
    age = "update taskmill.sequences set last_no = last_no - 120000000"
    await database.pool.execute(age)
    assert await sequences.prune(database.pool, 10) == 0
    await run(database, first)
    assert await sequences.prune(database.pool, 10) == 1
    (second,) = await sequence(database, 1)
    assert await database.pool.fetchval("select sequence_no from taskmill.tasks where id = $1", second) > number


async def test_a_next_one_that_a_stranger_has_locked_is_not_overtaken_and_gets_its_turn_later(database: Database) -> None:
    first, second, third = await sequence(database, 3)
    async with database.transaction() as theirs:
        await theirs.execute("select from taskmill.tasks where id = $1 for update", second)
        assert not (await asyncio.wait_for(run(database, first), 5)).ids
        assert await states(database, [third]) == ["blocked"]
    assert await sequences.waiting(database.pool, 10) == ["k"]
    assert (await let_go(database)).ids == {second}
