"""Dependencies: a child waits for all its parents, and only for them."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from taskmill.errors import Code, InputError
from taskmill.ids import new_id
from taskmill.states import State
from taskmill.stores import constants as c
from taskmill.stores.database import Database
from taskmill.stores.tasks import claim, control, partitions, stage
from taskmill.stores.tasks.order import dependencies
from tests.support.orders import LONG_AGO, SERVED, add, let_go, new_task, run, start, states
from tests.support.rows import add_task, final, imbalance
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
LEFT = "select count(*) from taskmill.task_dependencies"


@pytest.fixture(autouse=True)
async def today(database: Database) -> None:
    async with database.pool.acquire() as connection:
        await partitions.ensure_partitions(connection, 1)


async def parents(database: Database, n: int) -> list[UUID]:
    return [await add_task(database.pool) for _ in range(n)]


async def child(database: Database, *of: UUID, **options: str) -> UUID:
    async with database.pool.acquire() as connection:
        (task_id,) = await add(connection, new_task(None, of, **options))
    await let_go(database)
    return task_id


async def test_it_waits_for_all_of_them(database: Database) -> None:
    first, second = await parents(database, 2)
    waiting = await child(database, first, second)
    assert not (await run(database, first)).ids
    assert await states(database, [waiting]) == ["blocked"]
    assert (await run(database, second)).ids == {waiting}
    assert await states(database, [waiting]) == ["available"]
    assert await database.pool.fetchval(LEFT) == 0


@pytest.mark.parametrize("state", [State.DISCARDED, State.CANCELLED], ids=str)
async def test_if_one_fails_it_is_cancelled_with_all_that_wait_for_it(database: Database, state: State) -> None:
    (parent,) = await parents(database, 1)
    other = await child(database, parent, on_failure="run")
    waiting = await child(database, parent)
    grandchild = await child(database, waiting)
    assert (await run(database, parent, state)).ids == {other}
    assert await states(database, [waiting, grandchild, other]) == ["cancelled", "cancelled", "available"]
    assert b"ParentFailed" in (await final(database.pool, waiting))["error"]
    assert await database.pool.fetchval(LEFT) == 0
    assert await imbalance(database.pool) == []


async def test_a_parent_that_has_ended_counts_at_once(database: Database) -> None:
    first, second, third = await parents(database, 3)
    await run(database, first)
    await run(database, second, State.DISCARDED)
    assert await states(database, [await child(database, first)]) == ["available"]
    assert await states(database, [await child(database, second)]) == ["cancelled"]
    assert await states(database, [await child(database, second, on_failure="run")]) == ["available"]
    assert await states(database, [await child(database, first, third)]) == ["blocked"]


async def test_a_parent_that_is_not_there_is_named_and_nothing_is_stored(database: Database) -> None:
    (parent,) = await parents(database, 1)
    missing = new_id()
    async with database.pool.acquire() as connection:
        with pytest.raises(InputError) as caught:
            await add(connection, new_task(None, [parent]), new_task(None, [parent, missing]))
    assert caught.value.code is Code.PARENT_NOT_FOUND
    assert caught.value.details == {"id": str(missing), "field": "depends_on[1]", "index": 1}
    assert await database.pool.fetchval("select count(*) from taskmill.tasks") == 1


async def test_one_that_went_from_history_meanwhile_counts_as_failed(database: Database) -> None:
    (parent,) = await parents(database, 1)
    await run(database, parent)
    async with database.pool.acquire() as connection:
        (strict,) = await add(connection, new_task(None, [parent]))
        (lenient,) = await add(connection, new_task(None, [parent], on_failure="run"))
    await database.pool.execute("delete from taskmill.task_history where id = $1", parent)
    await let_go(database)
    assert await states(database, [strict, lenient]) == ["cancelled", "available"]


async def test_a_child_that_is_cancelled_or_expires_waits_for_nobody(database: Database) -> None:
    (parent,) = await parents(database, 1)
    now = await database.pool.fetchval("select now()")
    async with database.pool.acquire() as connection:
        one, two = await add(connection, new_task(None, [parent]), new_task(None, [parent], expires_at=now))
    await let_go(database)
    async with database.transaction() as connection:
        await control.cancel(connection, one, new_id())
        await stage.expire(connection, 10, new_id(), LONG_AGO)
    assert await states(database, [one, two]) == ["cancelled", "discarded"]
    assert await database.pool.fetchval(LEFT) == 0
    await run(database, parent)


async def test_a_retried_child_runs_whatever_its_parents_did(database: Database) -> None:
    (parent,) = await parents(database, 1)
    waiting = await child(database, parent)
    await run(database, parent, State.DISCARDED)
    async with database.transaction() as connection:
        reopened = await control.reopen(connection, waiting, new_id())
    assert reopened is not None
    assert reopened.state is State.AVAILABLE


async def test_both_at_once_needs_the_turn_and_the_parents(database: Database) -> None:
    (parent,) = await parents(database, 1)
    async with database.pool.acquire() as connection:
        first, second = await add(connection, new_task("k", [parent]), new_task("k"))
    await let_go(database)
    assert await states(database, [first, second]) == ["blocked", "blocked"]
    assert (await run(database, parent)).ids == {first}
    assert (await run(database, first)).ids == {second}


async def test_more_children_than_one_transaction_lets_go_are_left_to_the_scheduler(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (dependencies.resolve, dependencies.resolve_some):
        monkeypatch.setattr(each, "__kwdefaults__", {**each.__kwdefaults__, "most": 3})
    (parent,) = await parents(database, 1)
    async with database.pool.acquire() as connection:
        ids = await add(connection, *(new_task(None, [parent]) for _ in range(8)))
    await let_go(database)
    assert not (await run(database, parent)).ids
    assert (await let_go(database)).ids == set(ids)
    assert await database.pool.fetchval("select count(*) from taskmill.ended_parents") == 0


async def test_how_a_parent_ended_is_known_though_its_queue_keeps_no_history(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies.resolve, "__kwdefaults__", {**dependencies.resolve.__kwdefaults__, "most": 1})
    await database.pool.execute("insert into taskmill.queues (name, retention_s) values ('default', 0)")
    (parent,) = await parents(database, 1)
    ids = [await child(database, parent) for _ in range(3)]
    async with database.pool.acquire() as connection:
        ids += await add(connection, new_task(None, [parent]))  # 还没有人看过
    await run(database, parent)
    assert await states(database, [parent]) == [None]
    async with database.transaction() as connection:
        await dependencies.mend(connection, (UUID(int=0), UUID(int=0)), 10)
    assert (await let_go(database)).ids == set(ids)


async def test_a_chain_deeper_than_one_transaction_goes_is_left_to_the_scheduler(database: Database) -> None:
    chain = await parents(database, 1)
    for _ in range(c.CASCADE_MAX + 5):
        chain.append(await child(database, chain[-1]))
    await run(database, chain[0], State.DISCARDED)
    await let_go(database)
    assert await states(database, chain) == ["discarded"] + ["cancelled"] * (c.CASCADE_MAX + 5)


async def test_a_parent_that_an_older_program_ended_is_found(database: Database) -> None:
    (parent,) = await parents(database, 1)
    waiting = await child(database, parent, on_failure="run")
    await database.pool.execute("delete from taskmill.tasks where id = $1", parent)
    async with database.transaction() as connection:
        assert await dependencies.mend(connection, (UUID(int=0), UUID(int=0)), 10) == (1, None)
    assert (await let_go(database)).ids == {waiting}


@pytest.mark.parametrize("round_", range(5))
async def test_parents_that_end_while_children_are_armed_strand_none(database: Database, round_: int) -> None:
    ids = await parents(database, 12)
    async with database.pool.acquire() as connection:
        children = await add(connection, *(new_task(None, [ids[n % 12], ids[(n + 5) % 12]]) for n in range(24)))

    async def end(task_id: UUID) -> None:
        async def tried() -> bool:  # 正被标记的行，认领会跳过它
            try:
                await run(database, task_id)
            except AssertionError:
                return False
            return True

        await eventually(tried, why=f"{task_id} claimed")

    await asyncio.gather(let_go(database), let_go(database), *(end(each) for each in ids))
    await let_go(database)
    assert await states(database, children) == ["available"] * 24


async def test_a_parent_whose_claim_met_the_arming_of_its_first_child_gets_a_ticket_again(database: Database) -> None:
    (parent,) = await parents(database, 1)
    async with database.pool.acquire() as connection:
        await add(connection, new_task(None, [parent]))
    async with database.transaction() as arming:
        await dependencies.arm(arming)
        async with database.pool.acquire() as connection:
            assert await start(connection, parent, new_id()) is None
            await claim.decline(connection, [(parent, 0)], SERVED)  # 票撕了
    query = "select ticket_at from taskmill.tasks where id = $1 and state = 'available'"
    assert await database.pool.fetch(query, parent) == [(None,)]


async def test_a_parent_is_claimed_while_a_further_child_is_armed(database: Database) -> None:
    (parent,) = await parents(database, 1)
    await child(database, parent)
    async with database.pool.acquire() as connection:
        further = await add(connection, new_task(None, [parent]))
    async with database.transaction() as arming:
        await dependencies.arm(arming, of=further)
        async with database.pool.acquire() as connection:
            assert await start(connection, parent, new_id()) is not None


async def test_a_child_that_a_stranger_has_locked_holds_up_nobody_and_is_let_go_later(database: Database) -> None:
    (parent,) = await parents(database, 1)
    held, other = await child(database, parent), await child(database, parent)
    async with database.transaction() as theirs:
        await theirs.execute("select from taskmill.tasks where id = $1 for update", held)
        assert (await asyncio.wait_for(run(database, parent), 5)).ids == {other}
    assert (await let_go(database)).ids == {held}
