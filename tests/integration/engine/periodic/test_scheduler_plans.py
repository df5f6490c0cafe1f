"""Statements that the scheduler repeats every second stay on their indexes, whatever the statistics say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from taskmill.stores import schedule
from taskmill.stores.database import Database
from taskmill.stores.tasks import audit as task_audit
from taskmill.stores.tasks import glance, prune
from taskmill.stores.tasks import rescue as task_rescue

pytestmark = pytest.mark.anyio
STATEMENTS: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "rescue: look": (task_rescue.LOOK, (10.0,), "tasks_running"),
    "rescue: lost": (task_rescue.LOST, (task_rescue.DEATH_LEASE, task_rescue.DEATH_POD), "tasks_running"),
    "rescue: overdue": (task_rescue.OVERDUE, (10.0, 1000, 20.0, 5.0, 3600.0, 1.8e9), "tasks_running"),
    "audit: oldest": (task_audit.OLDEST, (5.0,), "tasks_available"),
    "audit: lost": (task_audit.LOST, ("q1", 2, 0.0, 1e12, 5000), "tasks_available"),
    "cron: some due": (glance.GLANCE, (), "schedules_due"),
    "cron: due": (schedule.DUE, (100,), "schedules_due"),
    "release: not armed": (glance.GLANCE, (), "task_dependencies_fresh"),
    "release: new in sequences": (glance.GLANCE, (), "sequences_fresh"),
    "release: turns put off": (glance.GLANCE, (), "sequence_turns_waiting"),
    "release: ended parents": (glance.GLANCE, (), "ended_parents_pkey"),
    "prune: attempts": (prune.ATTEMPTS, (14, 5000), "task_attempts_finished"),
    "prune: fires": (prune.FIRES, (14, 5000), "schedule_fires_created"),
    "prune: closed minutes": (prune.CLOSED, (prune.NOBODY, 5000), "rollups_pkey"),
    "prune: rollups": (prune.ROLLUPS, (prune.NOBODY, 5000, 14), "rollups_pkey"),
}
FILL = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, ticket_at, worker_id)
select gen_random_uuid(), 'q' || (i % 3), 'k.k', case when i % 20 = 0 then 'running' else 'available' end, '{}', 1000,
       now() - i * interval '1 ms', case when i % 20 = 0 then '00000000-0000-0000-0000-000000000001'::uuid end
from generate_series(1, 30000) i
"""


@pytest.fixture(params=["empty", "full"])
async def database(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A filled database whose statistics were taken before or after it was filled."""
    filling = await asyncpg.connect(database_url)  # 没有时限：挤满的机器上要几十秒
    try:
        await filling.execute("alter table taskmill.tasks set (autovacuum_enabled = off)")
        for statement in ("analyze", FILL) if request.param == "empty" else (FILL, "analyze"):
            await filling.execute(statement)
    finally:
        await filling.close()
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


async def test_every_statement_stays_on_its_index(database: Database) -> None:
    for name, (statement, parameters, index) in STATEMENTS.items():
        lines = [row[0] for row in await database.pool.fetch(f"explain {statement}", *parameters)]
        plan = "\n".join(lines)
        scanned = re.findall(r"Seq Scan on (\w+)", plan)
        assert index in plan, f"{name}\n{plan}"
        assert "tasks" not in scanned, f"{name}\n{plan}"
