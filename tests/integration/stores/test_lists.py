"""Lists of tasks: every filter, every pair and many more at once give what a plain filter over the same rows gives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from taskmill.states import FINAL, LIVE, WAITING, State
from taskmill.stores import constants as sc
from taskmill.stores.database import Database
from taskmill.stores.slow import SlowLog
from taskmill.stores.tasks import partitions
from taskmill.stores.tasks.lists import page, statement
from taskmill.stores.tasks.lists.statement import TaskQuery
from tests.support.databases import in_thread, temporary_database
from tests.support.logs import captured

ROWS = 400
SCHEDULES = [None, None, UUID(int=1), UUID(int=2)]
TAGS = [None, [], ["x"], ["x", "y"], ["z"]]
Row = dict[str, Any]


def _made(now: datetime) -> list[Row]:
    """两天里提交的任务，一半已经结束；编号与提交的时刻一致。"""
    chance, rows = random.Random(7), list[Row]()  # noqa: S311 - 不是密码
    for number in range(ROWS):
        created = now - timedelta(seconds=chance.randrange(2 * 86_400), milliseconds=number)
        state = chance.choice(sorted(FINAL if number % 2 else LIVE))
        started = None if state in WAITING else created + timedelta(seconds=chance.randrange(600))
        ended = (started or created) + timedelta(seconds=chance.randrange(60))
        row = {
            "id": UUID(int=statement.first_id(created, 0).int + number),
            "queue": chance.choice("ab"),
            "kind": chance.choice(["k.a", "k.b", "k.c"]),
            "state": state,
            "tags": chance.choice(TAGS),
            "schedule_id": chance.choice(SCHEDULES),
            "error": '{"type": "E", "n": 1.0}' if state == State.DISCARDED else None,
            "created_at": created,
            "started_at": started,
            # 今天与昨天才有分区
            "finished_at": max(ended, now - timedelta(days=1)) if state in FINAL else None,
        }
        rows.append(row)
    return sorted(rows, key=lambda row: row["id"], reverse=True)


@pytest.fixture(scope="module")
def filled(postgres_server: Any, database_template: str) -> Iterator[tuple[str, list[Row]]]:
    """A database and the rows that are in it, the newest first."""
    rows = _made(datetime.now(UTC).replace(microsecond=0))
    with temporary_database(postgres_server.url, template=database_template) as url:
        in_thread(_put(url, rows))
        yield url, rows


async def _put(url: str, rows: list[Row]) -> None:
    connection = await asyncpg.connect(url)
    await partitions.ensure_partitions(connection, 1)
    for table, states in (("tasks", LIVE), ("task_history", FINAL)):
        some = [{"args": "{}", "timeout_ms": 1, **row} for row in rows if row["state"] in states]
        names = [name for name in some[0] if name != "finished_at" or states is FINAL]
        values = [tuple(row[name] for name in names) for row in some]
        await connection.copy_records_to_table(table, schema_name="taskmill", columns=names, records=values)
    await connection.close()


def fits(row: Row, query: TaskQuery) -> bool:
    """Say whether a row is wanted, in the plainest way."""
    for name in ("created", "started", "finished"):
        moment, after, before = row[f"{name}_at"], getattr(query, f"{name}_after"), getattr(query, f"{name}_before")
        if (after or before) and (moment is None or (after and moment < after) or (before and moment >= before)):
            return False
    return (
        all(getattr(query, name) in {None, row[name]} for name in ("queue", "kind", "schedule_id"))
        and (not query.states or row["state"] in query.states)
        and (query.tag is None or query.tag in (row["tags"] or []))
        and (query.before is None or row["id"] < query.before)
        and (query.ids is None or row["id"] in query.ids)
    )


def _choices(rows: list[Row]) -> dict[str, list[Any]]:
    """每个过滤项的几个值；时刻取自某一行，边界上的行就看得出来。"""
    chance = random.Random(8)  # noqa: S311 - 同上
    ended = [row for row in rows if row["finished_at"]]
    moments = {
        f"{name}_{side}": [chance.choice(ended)[f"{name}_at"] for _ in range(2)]
        for name in ("created", "started", "finished")
        for side in ("after", "before")
    }
    return {
        "queue": ["a", "none"],
        "states": [frozenset({State.COMPLETED}), frozenset({State.RUNNING, State.DISCARDED}), frozenset(LIVE)],
        "kind": ["k.a", "k.c"],
        "tag": ["x", "z"],
        "schedule_id": [UUID(int=1)],
        **moments,
        "before": [rows[ROWS // 2]["id"], rows[-1]["id"]],
        "ids": [frozenset(row["id"] for row in rows[::7]), frozenset()],
    }


def queries(rows: list[Row]) -> Iterator[TaskQuery]:
    """Yield no filter, each, each pair, and some with many."""
    choices, chance = _choices(rows), random.Random(9)  # noqa: S311 - 同上
    yield TaskQuery()
    for count in (1, 2):
        for names in combinations(choices, count):
            for _ in range(3):
                yield TaskQuery(**{name: chance.choice(choices[name]) for name in names})
    for _ in range(150):
        yield TaskQuery(**{name: chance.choice(choices[name]) for name in chance.sample([*choices], chance.randrange(3, 6))})


def test_a_list_gives_what_a_plain_filter_gives(filled: tuple[str, list[Row]]) -> None:
    url, rows = filled

    async def compare() -> int:
        database, found = Database(url), 0
        await database.open()
        try:
            for query in queries(rows):
                wanted = [row["id"] for row in rows if fits(row, query)]
                found += len(wanted)
                async with page.reading(database) as connection:
                    for limit, offset in ((ROWS, 0), (7, 3)):
                        some, total = await page.fetch_page(connection, query, limit=limit, offset=offset)
                        assert ([row["id"] for row in some], total) == (wanted[offset : offset + limit], len(wanted)), query
                        assert all(
                            row["error"] == ({"type": "E", "n": 1.0} if row["state"] == "discarded" else None)
                            for row in some
                        )
                    after = await page.fetch_after(connection, query, limit=9)
                    assert [row["id"] for row in after] == wanted[:9], query
        finally:
            await database.close()
        return found

    assert in_thread(compare()) > 10 * ROWS  # 不是处处都空着


def test_a_page_behind_the_end_is_empty_and_says_the_total(filled: tuple[str, list[Row]]) -> None:
    url, rows = filled

    async def look() -> tuple[list[Any], int]:
        database = Database(url)
        await database.open()
        try:
            async with page.reading(database) as connection:
                return await page.fetch_page(connection, TaskQuery(queue="a"), limit=10, offset=ROWS)
        finally:
            await database.close()

    assert in_thread(look()) == ([], sum(row["queue"] == "a" for row in rows))


def test_texts_are_made_once_for_each_shape_and_the_kept_ones_are_bounded() -> None:
    statement.text_of.cache_clear()
    for number in range(3):
        statement.statement(TaskQuery(queue=f"q{number}", kind="k"), counted=True)
    assert statement.text_of.cache_info().currsize == 1
    names = ["queue", "kind", "tag", "created_after", "created_before", "started_after", "started_before", "before"]
    for count in range(len(names)):
        for some in combinations(names, count):
            for states in (frozenset[State](), FINAL, frozenset({State.RUNNING})):
                statement.statement(TaskQuery(states=states, **dict.fromkeys(some, datetime.now(UTC))), counted=False)  # type: ignore[arg-type]
    info = statement.text_of.cache_info()
    assert info.misses > sc.LIST_SHAPES_MAX == info.currsize


def test_no_value_is_in_the_text() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    query = TaskQuery(queue="it's", kind="k'k", tag="t't", created_after=moment, finished_before=moment, before=UUID(int=5))
    text = statement.statement(query, counted=True)
    assert not {"it's", "k'k", "t't", "2026"} & set(text.split())
    assert len(statement.values(query)) == max(number for number in range(1, 20) if f"${number}" in text) - 2


@pytest.mark.anyio
async def test_a_slow_list_is_told_by_its_shape(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = captured(monkeypatch, "taskmill.stores.slow")
    database = Database(database_url, slow=SlowLog(0.0))
    await database.open()
    try:
        for _ in range(2):  # 记录在语句之后的一圈里才写
            async with page.reading(database) as connection:
                await page.fetch_page(connection, TaskQuery(queue="a", states=FINAL), limit=1, offset=0)
    finally:
        await database.close()
    names = {line["statement"] for line in told}
    assert "tasks.lists: page by queue, cancelled, completed, discarded" in names


CUT = "select pg_terminate_backend(pg_backend_pid())"


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["cancelled", "cut off", "refused", "left open"])
async def test_a_list_that_ends_badly_leaves_its_connection_or_a_new_one_to_the_next(database_url: str, end: str) -> None:
    database = Database(database_url, orm_pool_size=1)
    await database.open()

    async def bad() -> None:
        async with page.reading(database) as connection:
            if end == "left open":
                raise KeyError(end)
            await connection.fetch({"cut off": CUT, "refused": "select 1 / 0"}.get(end, "select pg_sleep(60)"))

    try:
        working = asyncio.ensure_future(bad())
        if end == "cancelled":
            sleeping = "select count(*) = 1 from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active'"
            async with asyncio.timeout(20):
                while not await database.pool.fetchval(sleeping):
                    await asyncio.sleep(0)
            working.cancel()
        with pytest.raises((asyncio.CancelledError, asyncpg.PostgresError, KeyError)):
            await working
        async with page.reading(database) as connection:
            assert await page.fetch_page(connection, TaskQuery(), limit=1, offset=0) == ([], 0)
        async with database.sessions() as session:
            limits = "select current_setting('statement_timeout') || current_setting('plan_cache_mode')"
            assert (await session.execute(text(limits))).scalar_one() == "0auto"
    finally:
        await database.close()
