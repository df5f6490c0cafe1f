"""Plans of the lists: whatever the filter, a list touches little of a large database, with statistics of it or of an empty one.

Each statement is planned for its values (`lists.page.reading`), so these are the plans of production for such rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from taskmill import constants as c
from taskmill.states import State
from taskmill.stores.database import Database
from taskmill.stores.tasks import partitions
from taskmill.stores.tasks.lists import page
from taskmill.stores.tasks.lists.statement import TaskQuery, statement, values
from tests.support.databases import execute, in_thread, temporary_database

ROWS, FEW = 60_000, 500
SCHEDULE = UUID(int=7)
RARE_STATES = (State.RUNNING, State.BLOCKED, State.RETRYABLE, State.SCHEDULED, State.DISCARDED, State.CANCELLED)
# 每种过滤项都有一个多的值与一个少的值；编号随时间增大，结束的时刻也是
COMMON = f"""case when n % {FEW} = 0 then 'few' else 'many' end, case when n % {FEW} = 1 then 'k.few' else 'k.many' end"""
RARE = f"""case when n % {FEW} = 2 then array['few'] when n % 2 = 0 then array['many'] end, case when n % {FEW} = 3 then '{SCHEDULE}'::uuid end"""
ID = "(lpad(to_hex((extract(epoch from {at}) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid"
SPAN = (
    f"date_trunc('day', now()) - interval '1 day' + n * (now() - date_trunc('day', now()) + interval '1 day') / {ROWS + 1}"
)
LIVE_ROWS = f"""
insert into taskmill.tasks (id, created_at, state, worker_id, started_at, queue, kind, tags, schedule_id, args, timeout_ms)
select {ID.format(at="at")}, at, state, case state when 'running' then gen_random_uuid() end, case state when 'running' then now() end, {COMMON}, {RARE}, '{{}}', 1
from (select n, now() - interval '2 hours' + n * interval '120 ms' as at,
             case when n % {FEW} = 4 then 'running' when n % {FEW} = 5 then 'blocked' when n % {FEW} = 6 then 'retryable' else 'available' end as state
      from generate_series(1, {ROWS}) n) s
"""
HISTORY_ROWS = f"""
insert into taskmill.task_history (id, created_at, started_at, finished_at, state, queue, kind, tags, schedule_id, args, timeout_ms)
select {ID.format(at="at")}, at, at, at, case when n % {FEW} = 4 then 'discarded' else 'completed' end, {COMMON}, {RARE}, '{{}}', 1
from (select n, {SPAN} as at from generate_series(1, {ROWS}) n) s
"""
# 碰到的页：两张表连同索引约五千页。值少的，只碰它们所在的页；值多的，数到头要走一万行
FEW_PAGES, MANY_PAGES, ALL_PAGES = 700, 2_000, 5_500


@pytest.fixture(scope="module", params=["fresh", "empty"])
def filled(request: pytest.FixtureRequest, postgres_server: Any, database_template: str) -> Iterator[tuple[str, bool]]:
    """A large database; its statistics are of now, or of the time when it was empty. And whether they are of now."""
    with temporary_database(postgres_server.url, template=database_template) as url:
        in_thread(_fill(url, fresh=request.param == "fresh"))
        yield url, request.param == "fresh"


async def _fill(url: str, *, fresh: bool) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("drop table if exists taskmill.task_history_tests")  # 模板里一个分区管所有的日子
    await partitions.ensure_partitions(connection, 1)
    tables = await connection.fetch(
        "select oid::regclass::text as name from pg_class where relnamespace = 'taskmill'::regnamespace and relkind = 'r'"
    )
    for table in tables:
        await connection.execute(f"alter table {table['name']} set (autovacuum_enabled = off)")
    for step in (LIVE_ROWS, HISTORY_ROWS, "analyze") if fresh else ("analyze", LIVE_ROWS, HISTORY_ROWS):
        await connection.execute(step)
    await connection.close()


def queries() -> Iterator[tuple[str, TaskQuery, bool]]:
    """Yield each filter with many and with few rows, and each pair of filters; and whether there are few rows."""
    now = datetime.now(UTC)
    known: dict[str, tuple[Any, ...]] = {
        "queue": ("many", "few", "nobody"),
        "kind": ("k.many", "k.few", "nobody"),
        "tag": ("many", "few", "nobody"),
        "states": (frozenset({State.AVAILABLE}), *(frozenset({state}) for state in RARE_STATES)),
        "schedule_id": (SCHEDULE, UUID(int=8)),
        "created_after": (now - timedelta(days=1), now - timedelta(minutes=5)),
        "started_after": (now - timedelta(days=1), now - timedelta(minutes=5)),
        "finished_after": (now - timedelta(days=1), now - timedelta(minutes=5)),
    }
    yield "all", TaskQuery(), False
    for name, some in known.items():
        for place, value in enumerate(some):
            yield f"{name} {value}", TaskQuery(**{name: value}), _few(name, place)
    for first, second in combinations(known, 2):
        for a, b in product((0, 1), repeat=2):
            query = TaskQuery(**{first: known[first][a], second: known[second][b]})
            yield f"{first} {known[first][a]}, {second} {known[second][b]}", query, _few(first, a) or _few(second, b)


def _few(name: str, place: int) -> bool:
    # 时间的界不是索引的：等着的按编号找，多看一个小时
    return name == "schedule_id" or (place > 0 and not name.endswith("_after"))


async def _plan(database: Database, query: TaskQuery, offset: int) -> dict[str, Any]:
    async with page.reading(database) as connection:
        text = f"explain (analyze, buffers, format json) {statement(query, counted=True)}"
        told = await connection.fetchval(text, 21, offset, *values(query))
    return (told if isinstance(told, list) else msgspec.json.decode(told))[0]["Plan"]


async def _touched(url: str, offset: int) -> dict[str, tuple[int, bool]]:
    """每种列表碰了多少页，是不是只有几行。"""
    database, found = Database(url), dict[str, tuple[int, bool]]()
    await database.open()
    try:
        for name, query, few in queries():
            plan = await _plan(database, query, offset)
            found[name] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], few
    finally:
        await database.close()
    return found


def _rows(plan: dict[str, Any]) -> float:
    """Return how many rows all scans of tables gave."""
    own = plan["Actual Rows"] * plan["Actual Loops"] if "Relation Name" in plan else 0
    return own + sum(_rows(child) for child in plan.get("Plans", ()))


@pytest.mark.parametrize("query", [TaskQuery(), TaskQuery(queue="many"), TaskQuery(kind="k.many", tag="many")], ids=str)
@pytest.mark.parametrize("offset", [0, 9_960])
def test_page_and_total_read_each_row_once_and_not_beyond_the_cap(
    filled: tuple[str, bool], query: TaskQuery, offset: int
) -> None:
    async def read() -> float:
        database = Database(filled[0])
        await database.open()
        try:
            return _rows(await _plan(database, query, offset))
        finally:
            await database.close()

    if filled[1]:  # 统计过时的时候，先全取出来再排序
        assert c.TOTAL_EXACT_MAX < in_thread(read()) < c.TOTAL_EXACT_MAX + 200


@pytest.mark.parametrize("offset", [0, 5_000])
def test_a_list_touches_little_of_a_large_database(filled: tuple[str, bool], offset: int) -> None:
    """With statistics of an empty database a common value is taken for a rare one: all its rows are read, but once."""
    url, fresh = filled
    most = {True: FEW_PAGES, False: MANY_PAGES} if fresh else {True: ALL_PAGES, False: ALL_PAGES}
    touched = in_thread(_touched(url, offset))
    assert len(touched) > 100
    assert {name: pages for name, (pages, few) in touched.items() if pages > most[few]} == {}


def test_the_check_can_fail(postgres_server: Any, database_template: str) -> None:
    async def without(url: str) -> dict[str, tuple[int, bool]]:
        await _fill(url, fresh=True)
        await execute(url, "drop index taskmill.tasks_kind, taskmill.task_history_tags")
        return await _touched(url, 0)

    with temporary_database(postgres_server.url, template=database_template) as url:
        touched = in_thread(without(url))
    assert min(touched["kind nobody"][0], touched["tag nobody"][0]) > FEW_PAGES
