"""The end of attempts: fences, one bad row among good ones, no partition, history and counts in one transaction."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from taskmill import task
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.engine.settler import Settler
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.states import By, Cause, State, TransitionError, allowed
from taskmill.stores.database import Database
from taskmill.stores.slow import SlowLog, named
from taskmill.stores.tasks import claim as task_claim
from taskmill.stores.tasks import partitions
from taskmill.stores.tasks.order.release import LetGo
from taskmill.stores.tasks.settle import Outcome, settle
from tests.support.engines import attempts, consistent, decoded, final, history, live, platform_of, submit
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@task("test.any")
async def anything() -> None: ...


async def claimed(platform: Platform, count: int = 1) -> tuple[UUID, list[Outcome]]:
    """Submit and claim tasks; returns the worker's id and a completed outcome for each."""
    worker_id = new_id()
    done = await platform.submit.submit_many([SubmitRequest(kind="test.any")] * count)
    rows = await task_claim.claim(platform.database.pool, [(d.id, 0) for d in done], worker_id, ["test.any:1"])
    return worker_id, [Outcome(row["id"], row["claim_no"], worker_id, State.COMPLETED, result=b"1") for row in rows]


async def apply(platform: Platform, *outcomes: Outcome) -> set[UUID]:
    return set(await platform.database.unit(lambda connection: settle(connection, outcomes, new_id())))


def who(target: State) -> By:
    """Who may bring a running task there."""
    return By.HAND_BACK if target is State.AVAILABLE else By.SETTLE


WRONG = [
    (by, target)
    for by in (By.SETTLE, By.HAND_BACK, By.RESCUE, By.CLAIM)
    for target in State
    if not allowed(by, State.RUNNING, target)
]


async def test_a_transition_that_the_table_lacks_is_refused_and_changes_nothing(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, (mine, other) = await claimed(platform, 2)
        before = await live(platform, mine.id), await live(platform, other.id)
        for by, target in WRONG:
            with pytest.raises(TransitionError, match=f"{by} may not move a task from running to {target}"):
                await apply(platform, replace(other, result=None), replace(mine, by=by, state=target, result=None))
        assert (await live(platform, mine.id), await live(platform, other.id)) == before
        assert (By.SETTLE, State.AVAILABLE) in WRONG


async def test_a_task_that_was_handed_back_and_cancelled_says_so_in_its_attempts(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, (mine,) = await claimed(platform)
        await platform.tasks.cancel(mine.id)
        given = replace(mine, state=State.AVAILABLE, by=By.HAND_BACK, attempt_delta=-1, result=None)
        assert await apply(platform, given) == {mine.id}
        assert (await final(platform, mine.id))["state"] == "cancelled"
        assert [row["cause"] for row in await attempts(platform, mine.id)] == ["cancel"]
        await consistent(platform)


async def test_settled_rows_move_to_history_and_are_counted(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, outcomes = await claimed(platform, 5)
        assert await apply(platform, *outcomes) == {o.id for o in outcomes}
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0
        counted = await platform.database.pool.fetchrow("select queue, kind, outcome, n from taskmill.rollups")
        assert tuple(counted or ()) == ("default", "test.any", "completed", 5)
        await consistent(platform)


@pytest.mark.parametrize("change", [{"claim_no": 0}, {"claim_no": 2}, {"worker_id": new_id()}, {"id": new_id()}])
@pytest.mark.parametrize("state", [State.COMPLETED, State.RETRYABLE, State.AVAILABLE])
async def test_invariant_3_a_stale_worker_changes_nothing(
    database_url: str, broker_url: str, change: dict[str, Any], state: State
) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, (mine,) = await claimed(platform)
        before = await live(platform, mine.id)
        stale = replace(mine, state=state, cause=Cause.ERROR, by=who(state), **change)
        assert await apply(platform, stale) == set()
        assert await live(platform, mine.id) == before
        assert await attempts(platform, mine.id) == []
        assert await platform.database.pool.fetchval("select count(*) from taskmill.rollups") == 0


@pytest.mark.parametrize("state", [State.COMPLETED, State.RETRYABLE])
async def test_repeating_a_settle_is_harmless(database_url: str, broker_url: str, state: State) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, (mine,) = await claimed(platform)
        mine = replace(mine, state=state, result=None, cause=Cause.ERROR, delay_s=60.0)
        assert await apply(platform, mine) == {mine.id}
        assert await apply(platform, mine) == set()
        assert len(await attempts(platform, mine.id)) == 1
        await consistent(platform)


async def test_invariant_6_a_row_and_not_its_ticket_is_the_truth_after_the_claim(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, (mine,) = await claimed(platform)
        await platform.tickets.redis.flushdb()
        assert await apply(platform, mine) == {mine.id}


@pytest.mark.parametrize(
    ("delta", "state", "attempt"), [(-1, State.AVAILABLE, 0), (0, State.RETRYABLE, 1), (-1, State.SCHEDULED, 0)]
)
async def test_waiting_targets_lose_worker_and_ticket(
    database_url: str, broker_url: str, delta: int, state: State, attempt: int
) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, (mine,) = await claimed(platform)
        await apply(platform, replace(mine, state=state, attempt_delta=delta, by=who(state), result=None))
        row = await live(platform, mine.id)
        assert row is not None
        assert (row["state"], row["attempt"], row["claim_no"], row["worker_id"], row["ticket_at"], row["deadline_at"]) == (
            state,
            attempt,
            1,
            None,
            None,
            None,
        )


class Heard(SlowLog):
    """Names of the statements of settling that a database was asked."""

    def __init__(self) -> None:
        super().__init__(0)
        self.names: list[str] = []

    def note(self, query: str, took_s: float) -> None:
        if (name := named(query)).startswith("tasks.settle."):
            self.names.append(name)


async def test_what_nothing_follows_from_ends_in_one_statement(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        plain, parent = (await claimed(platform, 2))[1]
        child = await platform.submit.submit(SubmitRequest(kind="test.any", depends_on=(parent.id,)))
        followed = partial(platform.database.pool.fetchval, "select followed from taskmill.tasks where id = $1", parent.id)
        await eventually(followed)
        heard, told = Heard(), list[LetGo]()
        database = Database(database_url, slow=heard)
        await database.open()
        settler = Settler(database, released=told.append)
        settler.start()
        try:
            settler.put(plain)
            await eventually(lambda: settler.backlog == 0)
            assert (heard.names, told) == (["tasks.settle.FINISH_ALONE"], [])
            settler.put(parent)
            await eventually(lambda: settler.backlog == 0)
            assert heard.names[1:3] == ["tasks.settle.FINISH_ALONE", "tasks.settle.FINISH"]
            assert [each.ids for each in told] == [{child.id}]
        finally:
            assert await settler.stop(5) == 0
            await database.close()
        await consistent(platform)


async def test_one_row_that_cannot_be_stored_does_not_hurt_its_neighbours(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, outcomes = await claimed(platform, 9)
        outcomes[4] = replace(outcomes[4], result=b'"\\u0000"')  # PostgreSQL 存不下
        settler = Settler(platform.database)
        settler.start()
        for outcome in outcomes:
            settler.put(outcome)
        bad = await final(platform, outcomes[4].id)
        assert await settler.stop(5) == 0
        assert (bad["state"], bad["result"], decoded(bad["error"])["type"]) == ("discarded", None, "TaskmillError")
        states = await platform.database.pool.fetch("select state, count(*) as n from taskmill.task_history group by 1")
        assert {row["state"]: row["n"] for row in states} == {"completed": 8, "discarded": 1}
        await consistent(platform)


async def test_without_a_partition_results_wait_instead_of_failing(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, outcomes = await claimed(platform, 3)
        days = await platform.database.pool.fetch(
            "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'taskmill.task_history'::regclass"
        )
        for day in days:
            await platform.database.pool.execute(f"drop table {day['name']}")
        settler = Settler(platform.database)
        settler.start()
        for outcome in outcomes:
            settler.put(outcome)
        await asyncio.sleep(0.1)
        assert settler.backlog == 3
        async with platform.database.transaction() as connection:
            await partitions.ensure_partitions(connection, 1)
        await eventually(lambda: settler.backlog == 0)
        assert await settler.stop(5) == 0
        for outcome in outcomes:
            row = await history(platform, outcome.id)
            assert row is not None
            assert row["state"] == "completed"


async def test_a_settler_survives_an_error_nobody_expected(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, outcomes = await claimed(platform, 3)
        await platform.database.pool.execute("alter table taskmill.rollups rename to rollups_away")
        settler = Settler(platform.database)
        settler.start()
        for outcome in outcomes:
            settler.put(outcome)
        await asyncio.sleep(0.1)
        assert settler.backlog == 3
        await platform.database.pool.execute("alter table taskmill.rollups_away rename to rollups")
        await eventually(lambda: settler.backlog == 0)
        assert await settler.stop(5) == 0
        await consistent(platform)


async def test_a_settler_that_cannot_write_says_how_much_is_left(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, outcomes = await claimed(platform, 3)
        await platform.database.pool.execute("alter table taskmill.rollups rename to rollups_away")
        settler = Settler(platform.database)
        settler.start()
        for outcome in outcomes:
            settler.put(outcome)
        assert await settler.stop(0.2) == 3


async def test_many_settlers_and_claims_at_once_agree_in_the_end(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        batches = [(await claimed(platform, 40))[1] for _ in range(5)]
        mixed = [
            replace(o, state=State.DISCARDED, cause=Cause.ERROR, result=None) if n % 3 else o
            for batch in batches
            for n, o in enumerate(batch)
        ]
        done = await asyncio.gather(*(apply(platform, *mixed[start::4], *mixed[start::2][:20]) for start in range(4)))
        assert sum(len(ids) for ids in done) == 200
        await consistent(platform)


async def test_submit_and_claim_of_one_row_name_the_worker(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        worker_id, (mine,) = await claimed(platform)
        row = await live(platform, mine.id)
        assert row is not None
        assert (row["state"], row["worker_id"], row["attempt"], row["claim_no"]) == ("running", worker_id, 1, 1)
        assert row["deadline_at"] > row["started_at"]
        assert await submit(platform, "test.any") != mine.id


async def test_invariant_9_a_queue_that_keeps_nothing_is_counted_and_leaves_no_history(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        _, kept = await claimed(platform, 2)
        assert await apply(platform, *kept) == {o.id for o in kept}
        await platform.queues.put("default", QueuePolicyChange(retention_s=0))
        _, (first, *others) = await claimed(platform, 3)
        failed = replace(first, state=State.DISCARDED, cause=Cause.ERROR, message="no")
        assert await apply(platform, failed, *others) == {first.id, *(o.id for o in others)}
        rows = await platform.database.pool.fetch("select id from taskmill.task_history")
        assert {row["id"] for row in rows} == {o.id for o in kept}
        counted = await platform.database.pool.fetch(
            "select outcome, sum(n)::int as n from taskmill.rollups group by 1 order by 1"
        )
        assert [tuple(row) for row in counted] == [("completed", 4), ("discarded", 1), ("unretained", 3)]
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 0
        await consistent(platform)


async def test_an_outcome_that_cannot_be_stored_at_all_delays_only_itself(database_url: str, broker_url: str) -> None:
    """Neither as it is nor as a failure (a trigger of somebody else): it is tried again, and every settler lives on."""
    async with platform_of(database_url, broker_url, anything) as platform:
        _, outcomes = await claimed(platform, 8)
        pool, evil = platform.database.pool, {outcome.id for outcome in outcomes[:4]}
        await pool.execute(
            f"""
            create function boom() returns trigger language plpgsql as
              $$ begin raise exception 'no' using errcode = '22023'; end $$;
            create trigger boom before insert on taskmill.task_history for each row
              when (new.id in ({", ".join(f"'{one}'" for one in evil)})) execute function boom()
            """
        )
        settler = Settler(platform.database)
        settler.start()
        for outcome in outcomes[:6]:
            settler.put(outcome)
        await eventually(lambda: settler.settled == 2)
        for outcome in outcomes[6:]:
            settler.put(outcome)
        await eventually(lambda: settler.settled == 4)
        assert {key[0] for key in settler.unsettled} == evil
        await pool.execute("drop trigger boom on taskmill.task_history")
        await eventually(lambda: settler.backlog == 0)
        assert await settler.stop(5) == 0
        await consistent(platform)
