"""Plans of the hot statements: statistics taken when empty, then a large backlog, generic plans as in production.

With statistics of an empty table the planner once walked a whole partial index: a claim of 500 took 204 ms, not 6. And a
plan is kept: one made for an empty table stays until statistics are collected again, a minute into the burst that filled it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from taskmill.stores import failure
from taskmill.stores.dashboard import pulse
from taskmill.stores.database import HOT_SETTINGS
from taskmill.stores.queues import capacity as queue_capacity
from taskmill.stores.tasks import audit as task_audit
from taskmill.stores.tasks import claim as task_claim
from taskmill.stores.tasks import ends as task_ends
from taskmill.stores.tasks import failures, partitions, prune
from taskmill.stores.tasks import glance as task_glance
from taskmill.stores.tasks import limits as task_limits
from taskmill.stores.tasks import read as task_read
from taskmill.stores.tasks import rescue as task_rescue
from taskmill.stores.tasks import settle as task_settle
from taskmill.stores.tasks import stage as task_stage
from taskmill.stores.tasks import turns as task_turns
from taskmill.stores.tasks import unique as task_unique
from taskmill.stores.tasks.explain import fate as task_fate
from taskmill.stores.tasks.explain import waiting as task_waiting
from taskmill.stores.tasks.order import dependencies, follow, release, sequences
from taskmill.stores.workers import worker
from tests.support.databases import in_thread, temporary_database

ROWS = 60_000
LOAD = f"""
insert into taskmill.tasks (id, queue, kind, state, priority, args, timeout_ms, run_at, ticket_at, worker_id, expires_at)
select gen_random_uuid(), 'q' || n % 3, 'test.any', (array['available', 'available', 'scheduled', 'retryable', 'running'])[1 + n % 5],
       1 + n % 4, '{{}}', 1000, now() + (n % 1000) * interval '1 second',
       case when n % 5 = 0 then now() end, case when n % 5 = 4 then gen_random_uuid() end,
       case when n % 50 = 0 then now() end
from generate_series(1, {ROWS}) n
"""
HISTORY = f"""
insert into taskmill.task_history (id, queue, kind, state, args, timeout_ms, finished_at)
select gen_random_uuid(), 'q' || n % 3, 'test.any', 'completed', '{{}}', 1000, now() from generate_series(1, {ROWS}) n
"""
# 语句名 → 在 tasks 上只许用的索引
BY_ID = {"tasks_pkey"}
GLANCED = {"tasks_due", "tasks_expiring", "tasks_ticketless", "tasks_slots", "tasks_slots_by_key", "tasks_fair"}
STATEMENTS: dict[str, tuple[str, set[str]]] = {
    "claim": (task_claim.CLAIM, BY_ID),
    "claim of a suspect": (task_claim.CLAIM_SUSPECT, {"tasks_pkey", "tasks_running"}),
    "decline": (task_claim.DECLINE, BY_ID),
    "settle: finish": (task_settle.FINISH, BY_ID),
    "settle: finish alone": (task_settle.FINISH_ALONE, BY_ID),
    "settle: wait": (task_settle.WAIT, BY_ID),
    "unticket": (task_stage.UNTICKET, BY_ID),
    "due": (task_stage.DUE, {"tasks_due", "tasks_pkey"}),
    "lanes": (task_stage.LANES, {"tasks_ticketless"}),
    "glance": (task_glance.GLANCE, GLANCED),
    "glance, lately": (task_glance.GLANCE_LATELY, GLANCED),
    "lanes, lately": (task_stage.LANES_LATELY, {"tasks_ticketless"}),
    "feed": (task_stage.FEED, {"tasks_ticketless", "tasks_pkey"}),
    "stale": (task_stage.STALE, {"tasks_available", "tasks_pkey"}),
    "expire": (task_stage.EXPIRE, {"tasks_expiring", "tasks_pkey"}),
    "running of a worker": (task_claim.RUNNING_OF, {"tasks_running"}),
    "renew": (worker.RENEW, {"tasks_running"}),
    "result": (task_read.STORED, set()),
    "ends": (task_ends.ENDED, BY_ID),
    "unique: holders": (task_unique.HOLDERS, {"tasks_unique", "tasks_pkey"}),
    "unique: replace": (task_unique.REPLACE, {"tasks_unique", "tasks_pkey"}),
    "limits: by key": (task_limits.BY_KEY, {"tasks_slots_by_key", "tasks_pkey"}),
    "limits: by queue": (task_limits.BY_QUEUE, {"tasks_slots", "tasks_slots_by_key", "tasks_pkey"}),
    "limits: counts": (task_limits.COUNTS, {"tasks_slots"}),
    "limits: enrol": (task_limits.ENROL, {"tasks_ticketless", "tasks_pkey"}),
    "limits: release": (task_limits.RELEASE, {"tasks_slots", "tasks_slots_by_key", "tasks_pkey"}),
    "limits: keys": (task_limits.KEYS, {"tasks_slots_by_key"}),
    "limits: queues": (task_limits.QUEUES, {"tasks_slots"}),
    "limits: round": (
        task_limits.ROUND,
        {"tasks_slots", "tasks_slots_by_key", "tasks_ticketless", "tasks_running", "tasks_pkey"},
    ),
    "rescue: look": (task_rescue.LOOK, {"tasks_running"}),
    "limits: adopt": (task_limits.ADOPT, {"tasks_running", "tasks_pkey"}),
    "order: release": (release.RELEASE, BY_ID),
    "order: cancel": (follow.CANCEL, BY_ID),
    "order: next": (sequences.NEXT, {"tasks_sequence", "tasks_pkey"}),
    "order: lost turns": (sequences.LOST, {"tasks_sequence", "tasks_pkey"}),
    "order: empty sequences": (sequences.PRUNE, {"tasks_sequence", "tasks_pkey"}),
    "order: live parents": (dependencies.LIVE, BY_ID),
    "order: follow": (dependencies.FOLLOW, BY_ID),
    "order: unknown parents": (dependencies.UNKNOWN, BY_ID),
    "order: ended parents": (dependencies.ENDED, BY_ID),
    "order: lost parents": (dependencies.LOST, BY_ID),
    "order: children": (dependencies.LOCK, BY_ID),
    "limits: lock": (task_limits.LOCK, {"tasks_fair"}),
    "turns: counts": (task_turns.COUNT, {"tasks_fair"}),
    "turns: take": (task_turns.TAKE, {"tasks_fair", "tasks_pkey"}),
    "turns: take, in a queue with limits": (
        task_turns.TAKE_LIMITED,
        {"tasks_fair", "tasks_slots", "tasks_slots_by_key", "tasks_pkey"},
    ),
    "turns: line up": (task_turns.LINE_UP, {"tasks_fair", "tasks_pkey"}),
    "turns: waiting": (task_turns.WAITING, {"tasks_fair", "tasks_slots"}),
    "turns: keys before": (task_waiting.KEYS_BEFORE, {"tasks_fair"}),
    "limits: backlog": (queue_capacity.BACKLOG, {"tasks_available"}),
    "failures: count": (failures.COUNT, set()),
    "failures: tasks of a group": (failure.TASKS, BY_ID),
    "explain: one": (task_read.ONE, BY_ID),
    "explain: ahead": (task_waiting.AHEAD, {"tasks_available", "tasks_ticketless"}),
    "explain: held by its key": (task_waiting.HELD_BY_KEY_OF, {"tasks_slots_by_key"}),
    "explain: held by its queue": (task_waiting.HELD_BY_QUEUE_OF, {"tasks_slots"}),
    "explain: turn": (task_waiting.TURN, {"tasks_sequence", "tasks_pkey"}),
    "explain: ended": (task_fate.ENDED, {"tasks_unique"}),
}
OTHERS = {
    f"{module.__name__.rsplit('.', 1)[-1]}.{name}": text
    for module in (task_audit, task_rescue)
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str) and re.match(r"\s*(with|select|update|delete)\b", text)
}
OTHERS["prune.EXPIRED"] = prune.EXPIRED


@pytest.fixture(scope="module")
def loaded_url(postgres_server: Any, database_template: str) -> Iterator[str]:
    """A database whose statistics say that it is empty, with a large backlog."""
    with temporary_database(postgres_server.url, template=database_template) as url:
        in_thread(_load(url))
        yield url


async def _load(url: str) -> None:
    connection = await asyncpg.connect(url)
    await partitions.ensure_partitions(connection, 1)
    tables = await connection.fetch(
        "select oid::regclass::text as name from pg_class where relnamespace = 'taskmill'::regnamespace and relkind = 'r'"
    )
    for table in tables:
        await connection.execute(f"alter table {table['name']} set (autovacuum_enabled = off)")
    await connection.execute("analyze")
    await connection.execute(LOAD)
    await connection.execute(HISTORY)
    await connection.close()


async def plan_of(url: str, statement: str) -> dict[str, Any]:
    """Return the generic plan under the settings of the hot pool."""
    count = max((int(n) for n in re.findall(r"\$(\d+)", statement)), default=0)
    connection = await asyncpg.connect(url, server_settings=HOT_SETTINGS)
    try:
        await connection.execute(f"prepare hot as {statement}")
        values = f"({', '.join(['null'] * count)})" if count else ""
        return msgspec.json.decode(await connection.fetchval(f"explain (format json) execute hot{values}"))[0]["Plan"]
    finally:
        await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def scanned_whole(plan: dict[str, Any]) -> list[str]:
    """Return the large tables that the plan reads from end to end."""
    return [
        node["Relation Name"]
        for node in nodes(plan)
        if node["Node Type"] == "Seq Scan" and re.match(r"tasks$|task_history|task_attempts", node["Relation Name"])
    ]


# 有意沿部分索引走的：跳着走的头一步，或者里面只有正在跑的
WALKS = {"lanes", "glance", "glance, lately", "limits: release", "limits: round", "rescue: look", "limits: adopt"}
# 表还小的时候定下的计划，表大了仍在用：没收集过统计、清空了的、只有几行的
SMALL = {
    "never analyzed": (),
    "emptied": (LOAD.replace(str(ROWS), "30"), "truncate taskmill.tasks", "vacuum analyze"),
    "a few rows": (LOAD.replace(str(ROWS), "30"), "analyze"),
}


async def _walked(url: str, before: Sequence[str], statements: Mapping[str, str]) -> dict[str, list[str]]:
    connection = await asyncpg.connect(url)
    await partitions.ensure_partitions(connection, 1)
    await connection.execute("alter table taskmill.tasks set (autovacuum_enabled = off)")
    for statement in before:
        await connection.execute(statement)
    await connection.close()
    plans = {name: await plan_of(url, statement) for name, statement in statements.items()}
    return {name: walks for name, plan in plans.items() if (walks := walked_whole(plan))}


def walked_whole(plan: dict[str, Any]) -> list[str]:
    """Return the indexes of large tables that the plan reads from end to end."""
    return [
        node["Index Name"]
        for node in nodes(plan)
        if "Index Name" in node and "Index Cond" not in node and re.match(r"task", node.get("Relation Name", ""))
    ]


@pytest.mark.parametrize("before", SMALL.values(), ids=list(SMALL))
def test_a_plan_that_was_made_while_the_table_was_small_reads_no_index_whole(
    postgres_server: Any, database_template: str, before: Sequence[str]
) -> None:
    hot = {name: statement for name, (statement, _) in STATEMENTS.items() if name not in WALKS}
    with temporary_database(postgres_server.url, template=database_template) as url:
        assert in_thread(_walked(url, before, hot)) == {}


def test_the_check_of_small_tables_can_fail(postgres_server: Any, database_template: str) -> None:
    plain = task_claim.CLAIM.replace("t.id = any (array[u.id])", "t.id = u.id")
    with temporary_database(postgres_server.url, template=database_template) as url:
        assert in_thread(_walked(url, SMALL["a few rows"], {"claim": plain})) == {"claim": ["tasks_pkey"]}


@pytest.mark.parametrize(("statement", "indexes"), STATEMENTS.values(), ids=list(STATEMENTS))
def test_a_hot_statement_uses_its_index(loaded_url: str, statement: str, indexes: set[str]) -> None:
    plan = in_thread(plan_of(loaded_url, statement))
    assert scanned_whole(plan) == []
    used = {node["Index Name"] for node in nodes(plan) if "Index Name" in node}
    assert {name for name in used if name.startswith("tasks_")} <= indexes
    assert "Hash Join" not in {node["Node Type"] for node in nodes(plan)}


@pytest.mark.parametrize("statement", OTHERS.values(), ids=list(OTHERS))
def test_a_loop_of_the_scheduler_reads_no_large_table_whole(loaded_url: str, statement: str) -> None:
    assert scanned_whole(in_thread(plan_of(loaded_url, statement))) == []


async def most_rows(url: str, statement: str, *values: Any) -> float:
    """Run a statement and return how many rows the busiest node of its plan gave."""
    connection = await asyncpg.connect(url, server_settings=HOT_SETTINGS)
    try:
        found = await connection.fetchval(f"explain (analyze, format json) {statement}", *values)
        return max(node["Actual Rows"] * node["Actual Loops"] for node in nodes(msgspec.json.decode(found)[0]["Plan"]))
    finally:
        await connection.close()


@pytest.mark.parametrize("ticket_at", [None, datetime(2999, 1, 1, tzinfo=UTC)], ids=["without a ticket", "with one"])
def test_what_is_before_a_task_is_counted_to_the_bound_only(loaded_url: str, ticket_at: datetime | None) -> None:
    given = ("q0", 1, ticket_at, UUID(int=2**128 - 1), 100, [1, 2, 3, 4], 5)
    assert in_thread(most_rows(loaded_url, task_waiting.AHEAD, *given)) == 100


def test_the_look_for_changes_reads_the_end_of_the_index_only(loaded_url: str) -> None:
    assert in_thread(most_rows(loaded_url, pulse.FACTS)) <= 1


async def _failed(url: str, rows: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"""
        insert into taskmill.task_attempts (task_id, claim_no, attempt, cause, fingerprint, finished_at)
        select id, 1, 1, 'error', 'group', now() - row_number() over () * interval '1 second'
        from (select id from taskmill.task_history limit {rows}) h""")
    await connection.execute(
        "update taskmill.task_history set state = 'discarded' where id in (select task_id from taskmill.task_attempts)"
    )
    await connection.close()


def test_the_tasks_of_a_large_group_are_looked_at_until_there_are_enough(loaded_url: str) -> None:
    in_thread(_failed(loaded_url, 5_000))
    given = ("group", ["discarded"], 20_000, 101)
    assert in_thread(most_rows(loaded_url, failure.TASKS, *given)) <= 2 * 101
    assert in_thread(most_rows(loaded_url, failure.TASKS, "group", ["running"], 100, 101)) <= 2 * 100


def test_the_check_can_fail(loaded_url: str) -> None:
    assert scanned_whole(in_thread(plan_of(loaded_url, "select * from taskmill.tasks where kind = $1"))) == ["tasks"]
