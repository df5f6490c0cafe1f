"""The cron loop: every fire once, whatever is killed, and no schedule in the way of another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from taskmill import Unique, task
from taskmill.engine import constants as c
from taskmill.engine.periodic.cron import Cron
from taskmill.services.platform import Platform
from taskmill.services.schedules.service import ScheduleRequest
from tests.support import cron_replicas
from tests.support.engines import platform_of
from tests.support.platforms import opened, schedules
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def platform(database_url: str, broker_url: str) -> AsyncIterator[Platform]:
    async with opened(database_url, broker_url) as platform:
        yield platform


@pytest.fixture
def cron(platform: Platform) -> Cron:
    return Cron(platform.database, platform.submit)


async def make(platform: Platform, name: str, *, due_s: float | None = 0.0, **changes: Any) -> None:
    """Make a schedule whose next fire lies `due_s` seconds back; None leaves it in the future."""
    fields: dict[str, Any] = {"name": name, "kind": "demo.echo", "interval_s": 3600, **changes}
    await schedules(platform).create(ScheduleRequest(**fields))
    if due_s is not None:
        await overdue(platform, name, due_s)


async def overdue(platform: Platform, name: str, seconds: float) -> None:
    await platform.database.pool.execute(
        "update taskmill.schedules set next_fire_at = now() - $2 * interval '1 second' where name = $1", name, seconds
    )


async def tasks(platform: Platform) -> list[asyncpg.Record]:
    return await platform.database.pool.fetch("select * from taskmill.tasks order by fire_at, id")


async def test_a_due_schedule_submits_its_task_once(platform: Platform, cron: Cron) -> None:
    await make(platform, "later", due_s=None)
    await make(platform, "sum", kind="demo.add", args={"a": 1, "b": 2}, due_s=2)
    fire_at = await platform.database.pool.fetchval("select next_fire_at from taskmill.schedules where name = 'sum'")

    assert await cron.run_once() == {"fired": 1, "missed": 0, "failed": 0, "more": 0}
    assert await cron.run_once() == {"fired": 0, "missed": 0, "failed": 0, "more": 0}

    (row,) = await tasks(platform)
    assert (row["kind"], row["queue"], row["priority"], row["timeout_ms"]) == ("demo.add", "sums", 1, 5000)
    assert (row["state"], row["ticket_at"], row["fire_at"], row["created_by"]) == (
        "available",
        None,
        fire_at,
        "schedule:sum",
    )
    view = await schedules(platform).get("sum")
    assert row["schedule_id"] == view.id
    assert view.last_task_id == row["id"]
    stored = await platform.database.pool.fetchrow("select * from taskmill.schedules where name = 'sum'")
    assert stored is not None
    assert stored["last_fire_at"] == fire_at
    assert stored["next_fire_at"] == fire_at + timedelta(hours=1)
    assert await platform.database.pool.fetchval("select count(*) from taskmill.queues where name = 'sums'") == 1


async def test_paused_schedules_do_not_fire(platform: Platform, cron: Cron) -> None:
    await make(platform, "paused")
    await schedules(platform).pause("paused")
    assert (await cron.run_once())["fired"] == 0


async def test_a_late_scheduler_fires_each_time_and_a_dead_one_only_the_latest(platform: Platform, cron: Cron) -> None:
    await make(platform, "late", interval_s=2, due_s=5)
    await make(platform, "missed", interval_s=60, due_s=150, catch_up_s=600)
    await make(platform, "lost", interval_s=60, due_s=150, catch_up_s=5)

    counts = await cron.run_once()

    assert counts == {"fired": 4, "missed": 5, "failed": 0, "more": 0}
    fired = {row["created_by"]: 0 for row in await tasks(platform)}
    for row in await tasks(platform):
        fired[row["created_by"]] += 1
    assert fired == {"schedule:late": 3, "schedule:missed": 1}
    assert (await schedules(platform).get("missed")).missed_count == 2
    assert (await schedules(platform).get("lost")).missed_count == 3


async def test_a_broken_schedule_says_why_and_holds_up_nobody(platform: Platform, cron: Cron) -> None:
    await make(platform, "broken", due_s=3)
    await make(platform, "vanished", due_s=3)
    await make(platform, "fine", due_s=1)
    pool = platform.database.pool
    await pool.execute("update taskmill.schedules set args = $1 where name = 'broken'", b'{"text": 5}')
    await pool.execute("update taskmill.schedules set kind = 'demo.gone' where name = 'vanished'")

    assert await cron.run_once() == {"fired": 1, "missed": 0, "failed": 2, "more": 0}

    assert [row["created_by"] for row in await tasks(platform)] == ["schedule:fine"]
    for name, word in (("broken", "ARGS_INVALID"), ("vanished", "KIND_NOT_FOUND")):
        row = await schedules(platform).get(name)
        assert word in (row.last_error or "")
        assert row.next_fire_at is not None
        assert datetime.fromisoformat(row.next_fire_at) > datetime.now(UTC)

    await pool.execute("update taskmill.schedules set args = $1 where name = 'broken'", b'{"text": "5"}')
    await overdue(platform, "broken", 0)
    assert (await cron.run_once())["fired"] == 1
    assert (await schedules(platform).get("broken")).last_error is None


async def test_a_time_zone_that_is_gone_is_tried_again(platform: Platform, cron: Cron) -> None:
    await make(platform, "moved", interval_s=None, cron="0 * * * *", due_s=1)
    await platform.database.pool.execute("update taskmill.schedules set timezone = 'Atlantis/City'")

    assert (await cron.run_once())["failed"] == 1

    wait = await platform.database.pool.fetchval("select extract(epoch from next_fire_at - now()) from taskmill.schedules")
    assert c.CRON_RETRY_S - 5 < wait <= c.CRON_RETRY_S
    assert "timezone" in ((await schedules(platform).get("moved")).last_error or "")


async def test_a_time_that_has_fired_never_fires_again(platform: Platform, cron: Cron) -> None:
    await make(platform, "hourly", due_s=1)
    fire_at = await platform.database.pool.fetchval("select next_fire_at from taskmill.schedules")
    await cron.run_once()
    await platform.database.pool.execute("update taskmill.schedules set next_fire_at = $1", fire_at)

    assert (await cron.run_once())["fired"] == 0

    assert len(await tasks(platform)) == 1
    view = await schedules(platform).get("hourly")
    assert datetime.fromisoformat(view.next_fire_at or "") > datetime.now(UTC)


@pytest.mark.parametrize(("on_duplicate", "error"), [("return", None), ("refuse", "UNIQUE_TAKEN")])
async def test_a_schedule_whose_task_is_there_already_names_that_one_and_makes_no_second(
    database_url: str, broker_url: str, on_duplicate: Any, error: str | None
) -> None:
    @task("demo.once", unique=Unique(on_duplicate=on_duplicate))
    async def once() -> None: ...

    async with platform_of(database_url, broker_url, once) as platform:
        cron = Cron(platform.database, platform.submit)
        await make(platform, "first", kind="demo.once")
        await make(platform, "second", kind="demo.once")
        assert (await cron.run_once())["fired"] == (2 if error is None else 1)
        (row,) = await tasks(platform)
        views = [await schedules(platform).get(name) for name in ("first", "second")]
        named = {view.last_task_id for view in views}
        assert named == ({row["id"]} if error is None else {row["id"], None})
        assert sorted(str(view.last_error).split(" ", 1)[0] for view in views) == sorted(["None", str(error)])
        fires = await platform.database.pool.fetch("select task_id from taskmill.schedule_fires")
        assert [fire["task_id"] == row["id"] for fire in fires].count(True) == (2 if error is None else 1)


async def test_a_full_batch_asks_for_more(platform: Platform) -> None:
    for number in range(3):
        await make(platform, f"s{number}")
    cron = Cron(platform.database, platform.submit, batch=2)
    assert [(await cron.run_once())["more"] for _ in range(2)] == [1, 0]
    assert len(await tasks(platform)) == 3


@pytest.mark.slow
async def test_five_thousand_schedules_that_are_due_in_the_same_second_fire_once_each(
    platform: Platform, cron: Cron
) -> None:
    await make(platform, "first")
    columns = "kind, args, interval_s, catch_up_s, next_fire_at, created_at, updated_at"
    await platform.database.pool.execute(
        f"""insert into taskmill.schedules (id, name, {columns})
        select gen_random_uuid(), 'copy' || n, {columns} from taskmill.schedules, generate_series(2, 5000) n"""
    )
    fired = [1]
    while fired[-1]:
        fired.append((await cron.run_once())["fired"])
    assert sum(fired[1:]) == 5_000
    assert await platform.database.pool.fetchval("select count(distinct schedule_id) from taskmill.tasks") == 5_000
    assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 5_000


async def test_replicas_at_the_same_instant_share_the_work(platform: Platform) -> None:
    for number in range(20):
        await make(platform, f"s{number:02}")
    crons = [Cron(platform.database, platform.submit, batch=5) for _ in range(4)]

    for _ in range(10):
        await asyncio.gather(*(cron.run_once() for cron in crons))

    assert len(await tasks(platform)) == 20
    assert len({row["schedule_id"] for row in await tasks(platform)}) == 20


async def test_exactly_one_fire_per_time_with_three_replicas_of_which_one_is_killed_every_second(
    platform: Platform, database_url: str, broker_url: str
) -> None:
    schedules, seconds, pool = 5, 12, platform.database.pool
    replicas = [cron_replicas.start(database_url, broker_url) for _ in range(3)]
    await asyncio.gather(*(replica.up() for replica in replicas))  # 迟到十秒的触发算错过，不能怪它们起得慢
    for number in range(schedules):
        await make(platform, f"tick{number}", interval_s=1, due_s=None)
    begun: datetime = await pool.fetchval("select max(next_fire_at) from taskmill.schedules")
    try:
        for _ in range(seconds):
            await asyncio.sleep(1)  # 混沌的节拍，不是等待
            victim = replicas.pop(random.randrange(len(replicas)))  # noqa: S311 - 不是密码
            victim.end()
            replicas.append(cron_replicas.start(database_url, broker_url))
            await replicas[-1].up()
        until: datetime = await pool.fetchval("select now()")
        await _caught_up(platform, until)
    finally:
        for replica in replicas:
            replica.end()

    rows = await tasks(platform)
    for schedule_id in {row["schedule_id"] for row in rows}:
        fires = [row["fire_at"] for row in rows if row["schedule_id"] == schedule_id]
        assert fires == [fires[0] + timedelta(seconds=n) for n in range(len(fires))], "a gap or a duplicate"
        assert fires[0] <= begun
        assert fires[-1] >= until - timedelta(seconds=1)
    assert len({row["schedule_id"] for row in rows}) == schedules
    assert await pool.fetchval("select sum(missed_count) from taskmill.schedules") == 0


async def _caught_up(platform: Platform, until: datetime) -> None:
    async def done() -> bool:
        return bool(await platform.database.pool.fetchval("select min(next_fire_at) > $1 from taskmill.schedules", until))

    await eventually(done, why="all fires up to the last kill are submitted")
