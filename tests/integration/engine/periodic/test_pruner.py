"""The pruner: partitions ahead, retention, and what belonged to tasks that are gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from asyncpg import Pool

from taskmill import constants as c
from taskmill.engine import constants as ec
from taskmill.engine.periodic.pruner import Pruner, PrunerConfig
from taskmill.ids import new_id
from taskmill.stores import constants as sc
from taskmill.stores.database import Database
from taskmill.stores.tasks import partitions
from tests.support import rows

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)
KEEP = 3


@pytest.fixture
def pruner(database: Database) -> Pruner:
    return Pruner(database, PrunerConfig(retention_days=KEEP))


async def today(pool: Pool) -> date:
    return (await rows.now(pool)).astimezone(UTC).date()


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


async def add_partition(pool: Pool, day: date) -> None:
    await pool.execute(
        f"create table taskmill.{partitions.partition_name(day)} partition of taskmill.task_history"
        f" for values from ('{day} 00:00:00+00') to ('{day + DAY} 00:00:00+00')"
    )


async def test_partitions_reach_from_yesterday_to_the_days_ahead(database: Database) -> None:
    first = await today(database.pool)
    async with database.pool.acquire() as connection:
        made = await partitions.ensure_partitions(connection, 2)
        assert await partitions.ensure_partitions(connection, 2) == 0
        assert await partitions.list_partitions(connection) == [first + n * DAY for n in (-1, 0, 1, 2)]
    assert made == 4


async def test_processes_that_make_partitions_at_once_do_not_collide(database: Database, database_url: str) -> None:
    connections = [await asyncpg.connect(database_url) for _ in range(4)]
    try:
        made = await asyncio.gather(*(partitions.ensure_partitions(connection) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()
    assert sum(made) == c.PARTITION_DAYS_AHEAD + 2


async def test_partitions_are_made_while_history_is_read_and_written(database: Database) -> None:
    async with database.transaction() as other:
        await other.execute("lock table taskmill.task_history in row exclusive mode")
        async with database.pool.acquire() as connection:
            assert await asyncio.wait_for(partitions.ensure_partitions(connection, 1), 20) == 3


async def test_rows_land_in_the_partition_of_their_utc_day(pool: Pool, pruner: Pruner) -> None:
    await pruner.run_once()
    day = await today(pool)
    for moment in (datetime(day.year, day.month, day.day, tzinfo=UTC), noon(day), noon(day + DAY)):
        await rows.add_final(pool, moment)
    found = await pool.fetch("select tableoid::regclass::text as name from taskmill.task_history")
    assert [row["name"] for row in found].count(f"taskmill.{partitions.partition_name(day)}") == 2


async def test_expired_partitions_are_dropped_and_kept_ones_are_not(pool: Pool, pruner: Pruner) -> None:
    day = await today(pool)
    for age in (KEEP + 2, KEEP + 1, KEEP, KEEP - 1):
        await add_partition(pool, day - age * DAY)
        await rows.add_final(pool, noon(day - age * DAY))

    counts = await pruner.run_once()

    assert (counts["dropped"], counts["pruned"], counts["busy"]) == (2, 2, 0)
    assert await pool.fetchval("select count(*) from taskmill.task_history") == 2
    async with pool.acquire() as connection:
        assert (await partitions.list_partitions(connection))[0] == day - KEEP * DAY


async def test_invariant_9_holds_when_history_is_pruned(pool: Pool, pruner: Pruner) -> None:
    day = await today(pool)
    for age in (KEEP + 2, KEEP + 1, KEEP):
        await add_partition(pool, day - age * DAY)
        for queue, kind, state in (("a", "x.y", "completed"), ("a", "x.y", "discarded"), ("b", "x.z", "cancelled")):
            await rows.add_final(pool, noon(day - age * DAY), queue=queue, kind=kind, state=state)
    assert await rows.imbalance(pool) == []

    await pruner.run_once()

    assert await rows.imbalance(pool) == []
    pruned = await pool.fetch("select queue, kind, sum(n) as n from taskmill.rollups where outcome = 'pruned' group by 1, 2")
    assert {(row["queue"], row["kind"]): row["n"] for row in pruned} == {("a", "x.y"): 4, ("b", "x.z"): 2}


async def test_a_partition_in_use_waits_for_the_next_tick_and_holds_up_nobody(
    database: Database, pool: Pool, pruner: Pruner
) -> None:
    old = await today(pool) - (KEEP + 1) * DAY
    await add_partition(pool, old)
    await rows.add_final(pool, noon(old))
    async with database.transaction() as reader:
        await reader.fetch("select id from taskmill.task_history")
        counts = await asyncio.wait_for(pruner.run_once(), 30)
        assert (counts["dropped"], counts["busy"]) == (0, 1)
        assert await rows.imbalance(pool) == []
        await rows.add_final(pool, await rows.now(pool))

    counts = await pruner.run_once()

    assert (counts["dropped"], counts["pruned"], counts["busy"]) == (1, 1, 0)
    assert await rows.imbalance(pool) == []


async def test_replicas_that_prune_at_once_count_each_row_once(database: Database, pool: Pool) -> None:
    day = await today(pool)
    for age in range(KEEP + 1, KEEP + 6):
        await add_partition(pool, day - age * DAY)
        await rows.add_final(pool, noon(day - age * DAY))
    pruners = [Pruner(database, PrunerConfig(retention_days=KEEP)) for _ in range(3)]

    first = await asyncio.gather(*(pruner.run_once() for pruner in pruners))
    last = await pruners[0].run_once()

    assert sum(counts["pruned"] for counts in (*first, last)) == 5
    assert await rows.imbalance(pool) == []


async def test_orphaned_attempts_go_and_those_of_known_tasks_stay(pool: Pool, pruner: Pruner) -> None:
    await pruner.run_once()
    now = await rows.now(pool)
    old = now - (KEEP + 2) * DAY
    live, final = await rows.add_task(pool), await rows.add_final(pool, now)
    gone, recent = await rows.add_final(pool, now), await rows.add_final(pool, now)
    await pool.execute("delete from taskmill.task_history where id = any($1)", [gone, recent])
    for task_id, finished_at in ((live, old), (final, old), (gone, old), (recent, now)):
        await rows.add_attempt(pool, task_id, finished_at)

    assert (await pruner.run_once())["attempts"] == 1

    left = {row["task_id"] for row in await pool.fetch("select task_id from taskmill.task_attempts")}
    assert left == {live, final, recent}


async def test_old_fires_and_long_dead_workers_go(pool: Pool, pruner: Pruner) -> None:
    for days in (KEEP + 1, KEEP - 1):
        await pool.execute(
            "insert into taskmill.schedule_fires values (gen_random_uuid(), now(), gen_random_uuid(), now() - $1 * interval '1 day')",
            days,
        )
    keep = [await rows.add_worker(pool), await rows.add_worker(pool, death="stopped", dead_s=ec.WORKER_KEEP_S - 60)]
    await rows.add_worker(pool, death="stopped", dead_s=ec.WORKER_KEEP_S + 60)

    counts = await pruner.run_once()

    assert (counts["fires"], counts["workers"]) == (1, 1)
    assert await pool.fetchval("select count(*) from taskmill.schedule_fires") == 1
    assert {row["id"] for row in await pool.fetch("select id from taskmill.workers")} == set(keep)


async def test_old_rollups_are_merged_by_day_and_their_sums_stay(database: Database, pool: Pool) -> None:
    day = noon(await today(pool) - (sc.ROLLUP_DAYS + 2) * DAY)  # 图表要看的，保留期再短也留着
    for minute, queue, n in ((0, "a", 1), (1, "a", 2), (1, "b", 4), (24 * 60, "a", 8), (10 * 24 * 60, "a", 16)):
        await pool.execute(
            "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_ms, run_ms)"
            " values ($1, $2, 'x.y', 'completed', gen_random_uuid(), $3::bigint, $3 * 10, $3 * 100)",
            day + timedelta(minutes=minute),
            queue,
            n,
        )
    pruner = Pruner(database, PrunerConfig(retention_days=KEEP, batch=2))

    counts = [await pruner.run_once() for _ in range(3)]

    assert [(count["rollups"], count["more"]) for count in counts] == [(2, 1), (2, 1), (0, 0)]
    found = await pool.fetch("select queue, n, wait_ms, run_ms from taskmill.rollups order by n")
    assert [tuple(row) for row in found] == [("a", 3, 30, 300), ("b", 4, 40, 400), ("a", 8, 80, 800), ("a", 16, 160, 1600)]


async def test_minutes_older_than_a_day_are_merged_by_hour_and_their_sums_stay(database: Database, pool: Pool) -> None:
    hour = (await rows.now(pool)).replace(minute=0, second=0, microsecond=0)
    last = hour - timedelta(hours=sc.ROLLUP_HOURS)
    first = hour - timedelta(hours=sc.ROLLUP_HOURS_LOOK)
    counted = {last - timedelta(minutes=1): 1, last - timedelta(minutes=59): 2, last: 4, last + timedelta(minutes=1): 8,
               first: 16, first + timedelta(minutes=30): 32}  # fmt: skip
    for minute, n in counted.items():
        await pool.execute(
            "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_ms, run_ms, wait_hist, run_hist)"
            " values ($1, 'a', 'x.y', 'completed', gen_random_uuid(), $2::bigint, $2 * 10, $2 * 100, $2 * 1000, $2)",
            minute,
            n,
        )
    pruner = Pruner(database, PrunerConfig(retention_days=KEEP, batch=100))

    assert [(await pruner.run_once())["rollups"] for _ in range(2)] == [4, 0]

    found = await pool.fetch(
        "select minute, n, wait_ms, run_ms, wait_hist::int, run_hist::int from taskmill.rollups order by 1"
    )
    hours = {first: 48, last - timedelta(hours=1): 3, last: 4, last + timedelta(minutes=1): 8}
    assert [tuple(row) for row in found] == [(at, n, n * 10, n * 100, n * 1000, n) for at, n in hours.items()]


def id_of(moment: datetime) -> UUID:
    """Return an id made at `moment`."""
    head = f"{int(moment.timestamp() * 1000):012x}"
    return UUID(f"{head}7{new_id().hex[13:]}")


async def test_invariant_9_finished_tasks_past_the_retention_of_their_queue_go_in_batches(database: Database) -> None:
    pool = database.pool
    async with pool.acquire() as connection:
        await partitions.ensure_partitions(connection, 1)
    await pool.execute(
        "insert into taskmill.queues (name, retention_s) values ('short', 3600), ('none', 0), ('default', null)"
    )
    now = await rows.now(pool)
    old, fresh = now - timedelta(hours=2), now - timedelta(minutes=1)
    for _ in range(5):
        await rows.add_final(pool, old, queue="short", id=id_of(old - timedelta(minutes=3)))
    await rows.add_final(pool, fresh, queue="none", id=id_of(fresh))
    kept = {
        await rows.add_final(pool, fresh, queue="short", id=id_of(fresh)),
        await rows.add_final(pool, fresh, queue="short", id=id_of(now - timedelta(days=9))),  # 早就提交，刚结束
        await rows.add_final(pool, old, queue="default", id=id_of(old)),
    }
    pruner = Pruner(database, PrunerConfig(retention_days=KEEP, batch=4))

    first = await pruner.run_once()
    second = await pruner.run_once()

    assert [(counts["expired"], counts["more"]) for counts in (first, second)] == [(5, 1), (1, 0)]
    assert {row["id"] for row in await pool.fetch("select id from taskmill.task_history")} == kept
    assert await rows.imbalance(pool) == []
