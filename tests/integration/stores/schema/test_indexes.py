"""Indexes of large tables: built while the programs go on, again after a try that failed; and what becomes of fair tasks on the way back."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest

from taskmill.models.task import TICKETLESS
from taskmill.stores.schema import migrations
from taskmill.stores.tasks import partitions

pytestmark = pytest.mark.anyio
GUIDE = Path(__file__).parents[4] / "docs/guides/operations.md"
VALID = "select indisvalid from pg_index where indexrelid = to_regclass('taskmill.' || $1::text)"
TASK = "insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms) values (gen_random_uuid(), 'q', 'k.k', 'available', '{}', 1)"
FAIR_TASK = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, fairness_key, slot)
values (gen_random_uuid(), 'q', 'k.k', 'available', '{}', 1, 'a', 3)
"""
STARTABLE = f"select count(*) from taskmill.tasks where {TICKETLESS}"
ROLLUP = "insert into taskmill.rollups (minute, queue, kind, outcome, writer, n, wait_ms, run_ms) values (now(), 'q', 'k.k', 'completed', gen_random_uuid(), 1, 1, 1)"
ATTEMPT = "insert into taskmill.task_attempts (task_id, claim_no, attempt, cause, fingerprint, finished_at) values (gen_random_uuid(), 1, 1, 'error', 'f', now())"
BUILT = [
    ("0017", "0018", "tasks_fair", TASK),
    ("0019", "0020", "rollups_queue", ROLLUP),
    ("0021", "0022", "task_attempts_group", ATTEMPT),
]
COLUMNS = {
    "tasks_fair": "alter table taskmill.tasks add column fairness_key text",
    "rollups_queue": "alter table taskmill.rollups add column wait_hist numeric default 0 not null",
    "task_attempts_group": "select",  # 在它之前什么也不加
}
INVALID = {
    "tasks_fair": "create index concurrently tasks_fair on taskmill.tasks (fairness_key)",
    "rollups_queue": "create index concurrently rollups_queue on taskmill.rollups (queue)",
    "task_attempts_group": "create index concurrently task_attempts_group on taskmill.task_attempts (fingerprint)",
}


async def appears(connection: asyncpg.Connection, index: str) -> None:
    async with asyncio.timeout(20):
        while await connection.fetchval(VALID, index) is None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("before", "after", "index", "write"), BUILT)
async def test_others_write_while_an_index_is_built(
    empty_database_url: str, before: str, after: str, index: str, write: str
) -> None:
    await migrations.upgrade(empty_database_url, before)
    old, other = await asyncpg.connect(empty_database_url), await asyncpg.connect(empty_database_url)
    snapshot = old.transaction(isolation="repeatable_read")
    await snapshot.start()
    await old.fetchval("select count(*) from taskmill.queues")
    building = asyncio.create_task(migrations.upgrade(empty_database_url, after))
    await appears(other, index)  # 等着更早的事务结束
    await other.execute("set lock_timeout = '1s'")
    await other.execute(write)
    assert await other.fetchval(VALID, index) is False
    await snapshot.rollback()
    await building
    assert await other.fetchval(VALID, index) is True
    await old.close()
    await other.close()


@pytest.mark.parametrize(("before", "after", "index", "write"), BUILT)
async def test_a_try_that_failed_half_way_is_repeated(
    empty_database_url: str, before: str, after: str, index: str, write: str
) -> None:
    await migrations.upgrade(empty_database_url, before)
    old, other = await asyncpg.connect(empty_database_url), await asyncpg.connect(empty_database_url)
    await other.execute(COLUMNS[index])
    await other.execute(write)
    async with old.transaction(isolation="repeatable_read"):
        await old.fetchval("select count(*) from taskmill.queues")
        await other.execute("set lock_timeout = '50ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.execute(INVALID[index])
    assert await other.fetchval(VALID, index) is False
    await migrations.upgrade(empty_database_url, after)
    assert await other.fetchval(VALID, index) is True
    assert "," in await other.fetchval("select pg_get_indexdef(to_regclass('taskmill.' || $1::text))", index)
    await old.close()
    await other.close()


PARTITIONS = """
select c.relname, i.indisvalid from pg_inherits p join pg_class c on c.oid = p.inhrelid join pg_index i on i.indexrelid = c.oid
where p.inhparent = to_regclass('taskmill.' || $1::text) order by 1
"""


async def test_an_index_of_the_history_is_one_on_all_partitions_those_made_later_too(empty_database_url: str) -> None:
    await migrations.upgrade(empty_database_url, "0022")
    connection = await asyncpg.connect(empty_database_url)
    await partitions.ensure_partitions(connection, 1)
    # 上一次走到一半：父表上有了，一个分区的没建成
    await connection.execute(
        "create index task_history_schedule on only taskmill.task_history (schedule_id, id) where schedule_id is not null"
    )
    [*_, last] = [partitions.partition_name(day) for day in await partitions.list_partitions(connection)]
    await connection.execute(
        f"create index {last}_schedule on taskmill.{last} (schedule_id, id) where schedule_id is not null"
    )
    await connection.execute(
        f"update pg_index set indisvalid = false where indexrelid = 'taskmill.{last}_schedule'::regclass"
    )
    await migrations.upgrade(empty_database_url, "0023")
    await partitions.ensure_partitions(connection, 3)
    days = len(await partitions.list_partitions(connection))
    for name in ("task_history_tags", "task_history_schedule", "task_history_times"):
        assert await connection.fetchval(VALID, name) is True, name
        assert [valid for _, valid in await connection.fetch(PARTITIONS, name)] == [True] * days == [True] * 5, name
    await migrations.downgrade(empty_database_url, "0022")
    assert await connection.fetchval("select count(*) from pg_indexes where indexname like 'task_history%schedule'") == 0
    await connection.close()


async def test_fair_tasks_are_let_go_on_the_way_down(empty_database_url: str) -> None:
    await migrations.upgrade(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(FAIR_TASK)
    assert await connection.fetchval(STARTABLE) == 0
    await migrations.downgrade(empty_database_url, "0017")
    assert await connection.fetchval(STARTABLE) == 1
    await connection.close()


async def test_the_guide_s_statement_lets_them_go_for_older_programs(database_url: str) -> None:
    (statement,) = re.findall(r"`(update taskmill\.tasks [^`]+)`", GUIDE.read_text(encoding="utf-8"))
    connection = await asyncpg.connect(database_url)
    await connection.execute(FAIR_TASK)
    assert await connection.fetchval(STARTABLE) == 0
    await connection.execute(statement)
    assert await connection.fetchval(STARTABLE) == 1
    await connection.close()
