"""The insert of tasks that may all run at once writes and answers what the general one does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from taskmill.ids import new_id
from taskmill.stores.database import Database
from taskmill.stores.tasks import submit
from taskmill.stores.tasks.submit import INSERT_NOW, NewTask

pytestmark = pytest.mark.anyio
MOMENT = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
FULL: dict[str, Any] = {
    "meta": b'{"a": 1}', "tags": ["x", "y z"], "expires_at": MOMENT, "schedule_id": new_id(), "fire_at": MOMENT, "created_by": "key:a",
}  # fmt: skip


def task(**fields: Any) -> NewTask:
    wanted = {"queue": "q", "kind": "test.any", "kind_version": 3, "priority": 4, "args": b'{"n": 1}', **fields}
    return NewTask(id=new_id(), max_attempts=7, timeout_ms=1_234, **wanted)


async def row(database: Database, made: NewTask) -> dict[str, Any]:
    found = await database.pool.fetchrow("select * from taskmill.tasks where id = $1", made.id)
    return {name: value for name, value in dict(found).items() if name != "id"}


@pytest.mark.parametrize("ticketed", [True, False])
@pytest.mark.parametrize("fields", [{}, FULL], ids=["bare", "full"])
async def test_it_writes_what_the_general_one_writes(database: Database, fields: dict[str, Any], ticketed: bool) -> None:
    alone, beside, delayed = (task(ticketed=ticketed, **fields) for _ in range(3))
    delayed.delay_s = 60.0
    async with database.transaction() as connection:  # 一个事务里的 now() 都一样
        at_once = (await submit.insert(connection, [alone]))[alone.id]
        general = await submit.insert(connection, [delayed, beside])
    assert at_once == general[beside.id]
    assert general[delayed.id].state == "scheduled"
    written = await row(database, alone)
    assert written == await row(database, beside)
    assert written["run_at"] == at_once.run_at and written["state"] == at_once.state == "available"
    at = at_once.ticket_ms
    assert (
        written["ticket_at"] == (None if at is None else datetime.fromtimestamp(at / 1000, UTC))
        and (at is not None) is ticketed
    )


@pytest.mark.parametrize(
    ("others", "alike"),
    [
        ([{}], True),
        ([{"delay_s": 1.0}], False),
        ([{"run_at": MOMENT}], False),
        ([{"ticketed": False}], False),
    ],
)
async def test_only_those_that_are_alike_go_that_way(database: Database, others: list[dict[str, Any]], alike: bool) -> None:
    tasks = [task(), *(task(**other) for other in others)]
    asked = list[str]()
    async with database.pool.acquire() as connection:
        connection.add_query_logger(lambda record: asked.append(record.query))
        found = await submit.insert(connection, tasks)
    assert (INSERT_NOW in asked) is alike
    assert found.keys() == {each.id for each in tasks}
    assert [found[each.id].ticket_ms is None for each in tasks] == [
        not each.ticketed or each.run_at is not None or each.delay_s > 0 for each in tasks
    ]


async def test_a_row_that_does_not_fit_leaves_none(database: Database) -> None:
    fits, twice = task(), task()
    twice.id = fits.id
    async with database.pool.acquire() as connection:
        with pytest.raises(Exception, match="tasks_pkey"):
            await submit.insert(connection, [fits, twice])
    assert await database.pool.fetchval("select count(*) from taskmill.tasks") == 0
