"""Turns with 100,000 tasks that wait for theirs: every statement walks its index and touches little, whatever the statistics say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from taskmill.ids import new_id
from taskmill.stores.database import Database
from taskmill.stores.tasks import limits, turns
from taskmill.stores.tasks.explain import waiting

pytestmark = pytest.mark.anyio
HELD, WINDOW = 100_000, 500
FILL = f"""
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, fairness_key, slot, ticket_at)
select gen_random_uuid(), 'q' || (i % 2), 'k.k', 'available', '{{}}', 1000, 'key-' || case when i % 2 = 0 then 1 else i % 1000 end,
       case when i <= {WINDOW} then 2 else 3 end, case when i <= {WINDOW} then now() end
from generate_series(1, {HELD}) i
"""
OTHERS = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, slot, ticket_at)
select gen_random_uuid(), 'q' || (i % 2), 'k.k', 'available', '{}', 1000, null, now() from generate_series(1, 20000) i
"""
STATEMENTS: dict[str, tuple[str, tuple[Any, ...], int]] = {
    # 语句、参数、至多碰多少页：窗口里的每行一页，每个键几页
    "lock": (limits.LOCK, (["q0", "q1"], WINDOW, WINDOW), 4_000),
    "count": (turns.COUNT, (["q0", "q1"], [2, 2], WINDOW), 3_000),
    "take of one key": (turns.TAKE, ("q0", 2, "", 100), 20_000),
    "take of many keys": (turns.TAKE, ("q1", 2, "key-5", 100), 20_000),
    "take with limits": (turns.TAKE_LIMITED, ("q1", 2, "key-5", 100, None), 20_000),
    "line up": (turns.LINE_UP, (5_000,), 100),
    "waiting": (turns.WAITING, ("", 0, 50, WINDOW), 4_000),
    "queues": (turns.QUEUES, (), 500),
    "keys before": (waiting.KEYS_BEFORE, ("q1", 2, "key-999", new_id(), 1_001), 20_000),
}


@pytest.fixture(params=["empty", "full"])
async def database(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A filled database whose statistics were taken before or after it was filled."""
    fill = (FILL, OTHERS)
    filling = await asyncpg.connect(database_url)  # 没有时限：挤满的机器上要几十秒
    try:
        await filling.execute("alter table taskmill.tasks set (autovacuum_enabled = off)")
        await filling.execute("insert into taskmill.queues (name) values ('q0'), ('q1')")
        for statement in ("analyze", *fill) if request.param == "empty" else (*fill, "analyze"):
            await filling.execute(statement)
    finally:
        await filling.close()
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


async def test_every_statement_walks_its_index_and_touches_little(database: Database) -> None:
    for name, (statement, parameters, most) in STATEMENTS.items():
        async with database.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            found = await connection.fetchval(f"explain (analyze, buffers, format json) {statement}", *parameters)
            await transaction.rollback()
        plan = msgspec.json.decode(found)[0]["Plan"]
        used = set(re.findall(r'"Index Name":\s*"(tasks_\w+)"', found if isinstance(found, str) else found.decode()))
        assert "tasks_fair" in used, f"{name}\n{plan}"
        assert used <= {"tasks_fair", "tasks_pkey", "tasks_slots", "tasks_slots_by_key"}, f"{name}: {used}"
        touched = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        assert touched <= most, f"{name}: {touched} pages"
