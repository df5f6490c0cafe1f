"""Groups of failures: counted after the settle, one row for all that failed in the same way, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from taskmill.engine.periodic.pruner import Pruner
from taskmill.ids import new_id
from taskmill.states import By, Cause, State
from taskmill.stores import constants as c
from taskmill.stores.database import Database, Record
from taskmill.stores.tasks import failures
from taskmill.stores.tasks.failures import Failed
from taskmill.stores.tasks.partitions import ensure_partitions
from taskmill.stores.tasks.settle import Outcome, settle
from taskmill.text.fingerprint import fingerprint
from tests.support import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    async with found.pool.acquire() as connection:
        await ensure_partitions(connection, 1)
    yield found
    await found.close()


async def fail(
    database: Database, messages: list[str], *, cause: Cause | None = Cause.ERROR, queue: str = "default", **fields: Any
) -> list[UUID]:
    """Settle a batch of running tasks that ended with these messages."""
    worker = new_id()
    ids = [await rows.add_running(database.pool, worker, queue=queue) for _ in messages]
    state = State.CANCELLED if cause is Cause.CANCEL else State.DISCARDED
    by = By.HAND_BACK if cause is Cause.DRAIN else By.SETTLE
    outcomes = [
        Outcome(
            task_id, 1, worker, State.AVAILABLE if by is By.HAND_BACK else state, by=by, cause=cause, error_type="E",
            message=message, frame="shop/mails.py send", kind="demo.echo", home=queue, **fields,
        )
        for task_id, message in zip(ids, messages, strict=True)
    ]  # fmt: skip
    found = list[Failed]()
    async with database.transaction() as connection:
        assert len(await settle(connection, outcomes, new_id(), failed=found)) == len(ids)
    await count(database, *found)
    return ids


async def groups(database: Database) -> list[Record]:
    return await database.pool.fetch("select * from taskmill.failures order by n desc, fingerprint")


async def test_what_failed_in_the_same_way_is_one_group_and_its_attempts_name_it(database: Database) -> None:
    first = await fail(database, ["order 1 is gone", "order 2 is gone", "no answer"])
    second = await fail(database, ["order 3 is gone"], queue="other")
    one, two = await groups(database)
    assert (one["n"], one["kind"], one["error_type"], one["message"]) == (3, "demo.echo", "E", "order <n> is gone")
    assert (one["frame"], sorted(one["queues"])) == ("shop/mails.py send", ["default", "other"])
    assert one["task_ids"] == [second[0], first[1], first[0]]
    assert one["first_at"] < one["last_at"]
    assert two["n"] == 1
    told = await database.pool.fetch("select task_id, fingerprint from taskmill.task_attempts")
    assert {row["fingerprint"] for row in told} == {one["fingerprint"], two["fingerprint"]}
    assert one["fingerprint"] == fingerprint("demo.echo", "E", "order <n> is gone", "shop/mails.py send")


@pytest.mark.parametrize(
    ("cause", "counted"),
    [(Cause.ERROR, True), (Cause.TIMEOUT, True), (Cause.CRASH, True), (Cause.OOM, True), (Cause.CANCEL, False), (Cause.DRAIN, False)],
)  # fmt: skip
async def test_cancels_and_infrastructure_are_nobody_s_failure(database: Database, cause: Cause, counted: bool) -> None:
    await fail(database, ["m"], cause=cause)
    assert len(await groups(database)) == counted
    assert (await database.pool.fetchval("select fingerprint from taskmill.task_attempts") is not None) == counted


@pytest.mark.parametrize("stale", [False, True])
async def test_what_completed_or_belongs_to_others_is_no_failure(database: Database, stale: bool) -> None:
    worker = new_id()
    running = await rows.add_running(database.pool, worker)
    outcome = Outcome(running, 1, worker, State.COMPLETED)
    if stale:
        outcome = Outcome(running, 1, new_id(), State.DISCARDED, cause=Cause.ERROR, error_type="E", message="m", kind="k")
    found = list[Failed]()
    async with database.transaction() as connection:
        await settle(connection, [outcome], new_id(), failed=found)
    assert found == []


def failed(number: int, kind: str = "k", queue: str = "q") -> Failed:
    name = f"{kind}{number:012}"
    return Failed(name, f"{kind}-other", kind, "E", "m", "f", queue, UUID(int=number))


async def count(database: Database, *batch: Failed) -> None:
    async with database.transaction() as connection:
        await failures.count(connection, failures.together(batch))


async def test_a_kind_has_so_many_groups_and_one_for_the_rest(database: Database) -> None:
    most = c.FAILURE_GROUPS_FULL
    await count(database, *(failed(n) for n in range(most - 1)))
    await count(database, *(failed(n) for n in range(most - 2, most + 5)), *(failed(n, "l") for n in range(3)))
    found = {row["fingerprint"]: row for row in await groups(database)}
    assert len([row for row in found.values() if row["kind"] == "k"]) == most + 1
    assert len([row for row in found.values() if row["kind"] == "l"]) == 3
    other = found["k-other"]
    assert (other["n"], other["error_type"], other["message"], other["frame"]) == (5, "", "", "")
    assert found[failed(most - 2).fingerprint]["n"] == 2
    await count(database, *(failed(n) for n in range(most + 3, most + 8)), failed(0))
    found = {row["fingerprint"]: row for row in await groups(database)}
    assert (found["k-other"]["n"], found[failed(0).fingerprint]["n"]) == (10, 2)
    assert found["k-other"]["task_ids"][0] == UUID(int=most + 7)


async def test_a_group_remembers_so_many_tasks_and_queues(database: Database) -> None:
    same = [Failed("f", "o", "k", "E", "m", "f", f"q{n:03}", UUID(int=n % 15)) for n in range(60)]
    for start in range(0, 60, 7):
        await count(database, *same[start : start + 7])
    (group,) = await groups(database)
    assert group["n"] == 60
    assert len(group["queues"]) == len(set(group["queues"])) == c.FAILURE_QUEUES_MAX
    assert group["task_ids"] == [UUID(int=n % 15) for n in range(59, 59 - c.FAILURE_TASKS_MAX, -1)]


async def test_many_who_settle_the_same_groups_in_any_order_do_not_meet_in_a_deadlock(database: Database) -> None:
    async def settler(turn: int) -> None:
        for n in range(10):
            batch = [failed(each) for each in range(20)]
            await count(database, *(batch if (n + turn) % 2 else reversed(batch)))

    await asyncio.gather(*(settler(turn) for turn in range(6)))
    assert {row["n"] for row in await groups(database)} == {60}


async def test_groups_in_which_nothing_failed_for_the_retention_are_pruned(database: Database) -> None:
    await count(database, failed(1), failed(2))
    now = await rows.now(database.pool)
    await database.pool.execute(
        "update taskmill.failures set last_at = $2 where fingerprint = $1", failed(1).fingerprint, now - timedelta(days=15)
    )
    assert (await Pruner(database).run_once())["failures"] == 1
    assert [row["fingerprint"] for row in await groups(database)] == [failed(2).fingerprint]


async def test_of_a_kind_with_too_many_groups_the_oldest_make_room_for_new_ones(database: Database) -> None:
    kept, full = c.FAILURE_GROUPS_MAX, c.FAILURE_GROUPS_FULL
    await count(database, *(failed(n) for n in range(full + 1)), failed(0, "l"))
    await database.pool.execute(
        "update taskmill.failures set last_at = last_at - substr(fingerprint, 2)::bigint * interval '1 second' "
        "where fingerprint <> 'k-other'"
    )
    assert (await Pruner(database).run_once())["failures"] == full - kept
    names = {row["fingerprint"] for row in await groups(database)}
    assert names == {failed(n).fingerprint for n in range(kept)} | {"k-other", failed(0, "l").fingerprint}
    await count(database, failed(full + 5))
    assert failed(full + 5).fingerprint in {row["fingerprint"] for row in await groups(database)}


@pytest.mark.parametrize("most", [1, 2, c.FAILURE_TASKS_MAX, c.FAILURE_TASKS_MAX + 1])
async def test_counts_that_were_put_together_are_written_whole(database: Database, most: int) -> None:
    await count(database, *(Failed("f", "o", "k", "E", "m", "f", "q", UUID(int=n)) for n in range(most)))
    (group,) = await groups(database)
    assert group["n"] == most
    assert group["task_ids"][0] == UUID(int=most - 1)


async def test_the_rest_of_a_kind_is_one_row_whoever_sends_it_there(database: Database) -> None:
    full = c.FAILURE_GROUPS_FULL
    await count(database, *(failed(n) for n in range(full)))
    sent = failures.together([failed(full + 1), failed(full + 2)])
    async with database.transaction() as connection:
        await failures.count(connection, [sent[0], sent[1].as_other()])
    assert {row["fingerprint"]: row["n"] for row in await groups(database)}["k-other"] == 2
