"""The rescuer: who is dead, what becomes of their tasks, and when it must hold still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncpg import Pool

from taskmill import constants as c
from taskmill.clock import FakeClock
from taskmill.engine.periodic.rescuer import Rescuer, RescuerConfig
from taskmill.ids import new_id
from taskmill.plugin import constants as pc
from taskmill.states import State
from taskmill.stores.database import AWAY, Database
from taskmill.stores.tasks import claim as task_claim
from taskmill.stores.tasks import partitions, rescue
from taskmill.stores.tasks import settle as task_settle
from taskmill.stores.tasks.settle import Outcome
from tests.conftest import PostgresFactory
from tests.support import rows

pytestmark = pytest.mark.anyio
LEASE = 20.0
NOTHING = {"dead": 0, "rescued": 0, "overdue": 0, "more": 0}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.open()
    try:
        async with database.pool.acquire() as connection:
            await partitions.ensure_partitions(connection, 1)
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url) as database:
        yield database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def rescuer(database: Database, clock: FakeClock) -> Rescuer:
    """A rescuer that has seen a full lease of quiet ticks."""
    rescuer = Rescuer(database, RescuerConfig(lease_s=LEASE), clock=clock)
    await arm(rescuer, clock)
    return rescuer


async def arm(rescuer: Rescuer, clock: FakeClock) -> None:
    for _ in range(4):
        assert await rescuer.run_once() == NOTHING
        clock.advance(LEASE / 4)


async def test_invariant_8_a_crash_costs_no_attempt_but_counts_as_a_crash(pool: Pool, rescuer: Rescuer) -> None:
    silent = await rows.add_worker(pool, lease_s=-1)
    tasks = [await rows.add_running(pool, silent, attempt=2, claim_no=3) for _ in range(3)]
    fine = await rows.add_running(pool, await rows.add_worker(pool))

    assert await rescuer.run_once() == {**NOTHING, "dead": 1, "rescued": 3}

    for task_id in tasks:
        row = await rows.live(pool, task_id)
        assert (row["state"], row["attempt"], row["claim_no"], row["crash_count"]) == ("available", 1, 3, 1)
        assert (row["ticket_at"], row["worker_id"], row["deadline_at"]) == (None, None, None)
        assert await rows.attempts(pool, task_id) == [(3, "crash")]
    assert (await rows.live(pool, fine))["state"] == "running"
    worker = await pool.fetchrow("select * from taskmill.workers where id = $1", silent)
    assert worker is not None
    assert (worker["death"], worker["running"]) == ("lease expired", 0)
    assert worker["dead_at"] is not None
    assert await rescuer.run_once() == NOTHING


async def test_invariant_8_nobody_is_declared_dead_because_the_databases_clock_stepped_forward(
    database: Database, pool: Pool, clock: FakeClock
) -> None:
    """Every lease looks expired then, until its worker renews."""
    rescuer = Rescuer(database, RescuerConfig(lease_s=4), clock=clock)
    for _ in range(5):
        await rescuer.run_once()
        clock.advance(1)
    assert rescuer.armed
    worker = await rows.add_worker(pool, lease_s=1)
    task_id = await rows.add_running(pool, worker)
    await pool.execute("select pg_sleep(2.5)")  # 数据库的钟走了，我们的没走：它往前跳了
    assert await rescuer.run_once() == NOTHING
    assert not rescuer.armed
    assert (await rows.live(pool, task_id))["state"] == "running"
    rescued = 0
    for _ in range(5):
        clock.advance(1)
        rescued += (await rescuer.run_once())["rescued"]
    assert rescued == 1  # 一整个租约都没有续：真的死了


async def test_an_attempt_from_before_a_step_has_that_much_more_time(pool: Pool) -> None:
    """Its worker counts by a clock that never steps, and has not come to the end of it yet."""
    worker = await rows.add_worker(pool, lease_s=LEASE)
    now = (await rows.now(pool)).timestamp()
    late = {"deadline_at": datetime.fromtimestamp(now - 60, UTC)}
    before = await rows.add_running(pool, worker, **late, started_at=datetime.fromtimestamp(now - 3_700, UTC))
    after = await rows.add_running(pool, worker, **late, started_at=datetime.fromtimestamp(now - 90, UTC))
    async with pool.acquire() as connection, connection.transaction():
        for stepped, expected in (
            ((0.0, 0.0), {before, after}),
            ((3_600.0, now - 100), {after}),
            ((30.0, now), {before, after}),
        ):
            found = await rescue.fetch_overdue(connection, 10.0, 10, LEASE, stepped)
            assert {row.id for row in found} == expected, stepped


async def test_rows_of_unknown_workers_and_late_claims_of_dead_ones_are_taken(pool: Pool, rescuer: Rescuer) -> None:
    nobody = await rows.add_running(pool, new_id())
    zombie = await rows.add_running(pool, await rows.add_worker(pool, death="lease expired", dead_s=60))

    assert await rescuer.run_once() == {**NOTHING, "rescued": 2}

    for task_id in (nobody, zombie):
        row = await rows.live(pool, task_id)
        assert (row["state"], row["crash_count"], row["attempt"]) == ("available", 1, 0)


async def test_invariant_8_what_a_stopped_worker_left_behind_is_no_crash(pool: Pool, rescuer: Rescuer) -> None:
    task_id = await rows.add_running(pool, await rows.add_worker(pool, death="stopped"), crash_count=2)

    assert (await rescuer.run_once())["rescued"] == 1

    row = await rows.live(pool, task_id)
    assert (row["state"], row["crash_count"], row["attempt"], row["error"]) == ("available", 2, 0, None)
    assert await rows.attempts(pool, task_id) == []


async def test_invariant_8_the_third_crash_discards_what_ran_alone(pool: Pool, rescuer: Rescuer) -> None:
    silent, other = await rows.add_worker(pool, lease_s=-1), await rows.add_worker(pool, lease_s=-1)
    poison = await rows.add_running(pool, silent, crash_count=2, attempt=3)
    bystander = await rows.add_running(pool, other, crash_count=1)

    assert (await rescuer.run_once())["rescued"] == 2

    row = await rows.final(pool, poison)
    assert (row["state"], row["crash_count"], row["attempt"]) == ("discarded", 3, 3)
    assert b"WorkerLost" in row["error"]
    assert await rows.attempts(pool, poison) == [(1, "crash")]
    found = await rows.live(pool, bystander)
    assert (found["state"], found["crash_count"]) == ("available", 2)
    assert await rows.imbalance(pool) == []


async def test_invariant_8_a_task_with_two_crashes_survives_beside_a_fresh_poison_pill(pool: Pool, rescuer: Rescuer) -> None:
    silent = await rows.add_worker(pool, lease_s=-1)
    bystander = await rows.add_running(pool, silent, crash_count=2)
    fresh = await rows.add_running(pool, silent)

    await rescuer.run_once()

    states = [await rows.live(pool, task_id) for task_id in (bystander, fresh)]
    assert [(row["state"], row["crash_count"]) for row in states] == [("available", 2), ("available", 1)]


async def test_invariant_8_two_suspects_on_one_worker_both_survive(pool: Pool, rescuer: Rescuer) -> None:
    silent = await rows.add_worker(pool, lease_s=-1)
    suspects = [await rows.add_running(pool, silent, crash_count=2) for _ in range(2)]

    await rescuer.run_once()

    for task_id in suspects:
        row = await rows.live(pool, task_id)
        assert (row["state"], row["crash_count"], row["attempt"]) == ("available", 2, 0)


async def test_suspects_are_counted_per_worker(pool: Pool, rescuer: Rescuer) -> None:
    tasks = [await rows.add_running(pool, await rows.add_worker(pool, lease_s=-1), crash_count=2) for _ in range(2)]
    await rescuer.run_once()
    assert [(await rows.final(pool, task_id))["state"] for task_id in tasks] == ["discarded", "discarded"]


async def test_a_task_asked_to_cancel_ends_cancelled(pool: Pool, rescuer: Rescuer) -> None:
    now, silent, alive = await rows.now(pool), await rows.add_worker(pool, lease_s=-1), await rows.add_worker(pool)
    late = {"cancel_requested_at": now, "deadline_at": now.replace(year=2020)}
    tasks = [
        await rows.add_running(pool, silent, cancel_requested_at=now),
        await rows.add_running(pool, silent, cancel_requested_at=now, crash_count=2),
        await rows.add_running(pool, alive, **late),
        await rows.add_running(pool, alive, **late, attempt=5),
    ]

    assert await rescuer.run_once() == {**NOTHING, "dead": 1, "rescued": 2, "overdue": 2}

    for task_id in tasks:
        assert (await rows.final(pool, task_id))["state"] == "cancelled"
    assert await rows.imbalance(pool) == []


async def deadline(pool: Pool, seconds: float) -> Any:
    return await pool.fetchval("select now() - $1 * interval '1 second'", seconds)


async def test_an_attempt_far_past_its_deadline_counts_and_is_retried(pool: Pool, rescuer: Rescuer) -> None:
    alive = await rows.add_worker(pool)
    late = await deadline(pool, c.DEADLINE_GRACE_S + 5)
    retried = await rows.add_running(pool, alive, deadline_at=late, attempt=2, max_attempts=3)
    used_up = await rows.add_running(pool, alive, deadline_at=late, attempt=3, max_attempts=3)
    in_grace = await rows.add_running(pool, alive, deadline_at=await deadline(pool, c.DEADLINE_GRACE_S - 5))

    assert await rescuer.run_once() == {**NOTHING, "overdue": 2}

    row = await rows.live(pool, retried)
    assert (row["state"], row["attempt"], row["crash_count"], row["worker_id"]) == ("retryable", 2, 0, None)
    assert 0 <= (row["run_at"] - row["updated_at"]).total_seconds() + 0.1 <= pc.BACKOFF_BASE_S * 2 + 0.1
    ended = await rows.final(pool, used_up)
    assert (ended["state"], ended["attempt"]) == ("discarded", 3)
    assert await rows.attempts(pool, retried) == await rows.attempts(pool, used_up) == [(1, "timeout")]
    assert (await rows.live(pool, in_grace))["state"] == "running"


@pytest.mark.parametrize(
    ("settling", "renewed_s", "taken"),
    [(True, 0.0, 0), (False, 0.0, 1), (False, 16.0, 0), (False, 14.0, 1)],
    ids=["the outcome waits", "nothing waits", "heard of too soon after the deadline", "heard of late enough"],
)
async def test_invariant_8_an_attempt_that_ended_in_time_is_never_recorded_as_timed_out(
    pool: Pool, rescuer: Rescuer, settling: bool, renewed_s: float, taken: int
) -> None:
    """The deadline was 20 s ago; the worker renewed its lease `renewed_s` ago and said what it still has to write."""
    alive = await rows.add_worker(pool, lease_s=LEASE - renewed_s)
    task_id = await rows.add_running(pool, alive, deadline_at=await deadline(pool, 20), max_attempts=1)
    if settling:
        await pool.execute("update taskmill.workers set settling = array[$2::uuid] where id = $1", alive, task_id)
    assert (await rescuer.run_once())["overdue"] == taken


async def test_a_full_batch_of_overdue_rows_asks_for_more(database: Database, pool: Pool, clock: FakeClock) -> None:
    rescuer = Rescuer(database, RescuerConfig(lease_s=LEASE, batch=2), clock=clock)
    await arm(rescuer, clock)
    alive, late = await rows.add_worker(pool), await deadline(pool, 3600)
    for _ in range(3):
        await rows.add_running(pool, alive, deadline_at=late)
    assert [(counts["overdue"], counts["more"]) for counts in [await rescuer.run_once(), await rescuer.run_once()]] == [
        (2, 1),
        (1, 0),
    ]


async def test_invariant_3_the_rescued_worker_s_late_result_changes_nothing(
    database: Database, pool: Pool, rescuer: Rescuer
) -> None:
    silent = await rows.add_worker(pool, lease_s=-1)
    task_id = await rows.add_running(pool, silent)
    await rescuer.run_once()
    other = await rows.add_worker(pool)
    await task_claim.claim(pool, [(task_id, 1)], other, ["demo.echo:1"])

    result = Outcome(task_id, 1, silent, State.COMPLETED, result=b"1")
    settled = await database.unit(lambda connection: task_settle.settle(connection, [result], silent))

    assert settled == {}
    assert (await rows.live(pool, task_id))["worker_id"] == other


async def test_replicas_rescue_each_row_once(database: Database, pool: Pool, clock: FakeClock) -> None:
    rescuers = [Rescuer(database, RescuerConfig(lease_s=LEASE), clock=clock) for _ in range(3)]
    for _ in range(4):
        await asyncio.gather(*(rescuer.run_once() for rescuer in rescuers))
        clock.advance(LEASE / 4)
    silent = await rows.add_worker(pool, lease_s=-1)
    tasks = [await rows.add_running(pool, silent) for _ in range(200)]

    counts = await asyncio.gather(*(rescuer.run_once() for rescuer in rescuers))
    last = await rescuers[0].run_once()

    assert sum(count["rescued"] for count in (*counts, last)) == 200
    assert {(await rows.live(pool, task_id))["crash_count"] for task_id in tasks} == {1}


async def test_it_acts_only_after_a_full_lease_of_its_own_ticks(database: Database, pool: Pool, clock: FakeClock) -> None:
    task_id = await rows.add_running(pool, await rows.add_worker(pool, lease_s=-1))
    rescuer = Rescuer(database, RescuerConfig(lease_s=LEASE), clock=clock)
    for _ in range(4):
        assert await rescuer.run_once() == NOTHING
        clock.advance(LEASE / 4 - 0.01)
    assert await rescuer.run_once() == NOTHING
    assert (await rows.live(pool, task_id))["state"] == "running"
    clock.advance(0.05)
    assert (await rescuer.run_once())["rescued"] == 1


async def test_a_gap_in_its_own_ticks_makes_it_wait_anew(pool: Pool, rescuer: Rescuer, clock: FakeClock) -> None:
    await rows.add_running(pool, await rows.add_worker(pool, lease_s=-1))
    clock.advance(LEASE / 2 + 0.1)
    await arm(rescuer, clock)
    assert (await rescuer.run_once())["rescued"] == 1


async def test_invariant_8_a_failed_tick_makes_it_wait_anew(own_postgres: PostgresFactory, clock: FakeClock) -> None:
    server = own_postgres()
    async with opened(server.url) as database:
        rescuer = Rescuer(database, RescuerConfig(lease_s=LEASE), clock=clock)
        await arm(rescuer, clock)
        task_id = await rows.add_running(database.pool, await rows.add_worker(database.pool, lease_s=-1))
        server.kill()
        with pytest.raises(AWAY):
            await rescuer.run_once()
        server.restart()
        await database.pool.expire_connections()
        await arm(rescuer, clock)
        assert (await rows.live(database.pool, task_id))["state"] == "running"
        assert (await rescuer.run_once())["rescued"] == 1


async def test_invariant_8_a_read_only_database_kills_nobody(pool: Pool, database: Database, clock: FakeClock) -> None:
    """It answers every question, yet no worker can renew its lease in it."""
    name = await pool.fetchval("select current_database()")
    rescuer = Rescuer(database, RescuerConfig(lease_s=LEASE), clock=clock)
    await arm(rescuer, clock)
    task_id = await rows.add_running(pool, await rows.add_worker(pool, lease_s=-1))
    for ticks, value in ((12, "on"), (4, "off")):
        await pool.execute(f"begin read write; alter database {name} set default_transaction_read_only = {value}; commit")
        await pool.expire_connections()
        for _ in range(ticks):
            clock.advance(LEASE / 4 - 0.01)
            if value == "on":
                with pytest.raises(AWAY):
                    await rescuer.run_once()
            else:
                assert (await rescuer.run_once())["rescued"] == 0
    assert (await rows.live(pool, task_id))["state"] == "running"
    clock.advance(LEASE / 4 + 0.1)
    assert (await rescuer.run_once())["rescued"] == 1


async def test_invariant_8_a_frozen_database_kills_nobody(own_postgres: PostgresFactory, clock: FakeClock) -> None:
    server = own_postgres()
    async with opened(server.url) as database:
        rescuer = Rescuer(database, RescuerConfig(lease_s=LEASE), clock=clock)
        await arm(rescuer, clock)
        worker_id = await rows.add_worker(database.pool, lease_s=0.3)
        task_id = await rows.add_running(database.pool, worker_id)
        server.pause()
        tick = asyncio.create_task(rescuer.run_once())
        await asyncio.sleep(0.5)  # 停摆期间租约到期
        clock.advance(30)
        assert not tick.done()
        server.resume()

        assert await tick == NOTHING

        assert (await rows.live(database.pool, task_id))["state"] == "running"
        assert await database.pool.fetchval("select dead_at from taskmill.workers where id = $1", worker_id) is None
        await arm(rescuer, clock)
        assert (await rescuer.run_once())["rescued"] == 1
