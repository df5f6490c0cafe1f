"""Thousands of queues: the scheduler's rounds cost what there is to do, not how many queues exist."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from taskmill import keys, task
from taskmill.clock import FakeClock
from taskmill.controls.queue_settings import QueuePolicyChange
from taskmill.engine import constants as ec
from taskmill.engine.periodic.auditor import Auditor, AuditorConfig
from taskmill.engine.periodic.cron import Cron
from taskmill.engine.periodic.stager import Stager
from taskmill.errors import Code, ConflictError, LimitError, NotFoundError
from taskmill.services import constants as c
from taskmill.services.platform import Platform
from taskmill.services.schedules.service import ScheduleRequest
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores import constants as sc
from taskmill.stores.broker import lanes
from taskmill.stores.database import Database
from taskmill.stores.slow import SlowLog, named
from tests.support.clocks import SlowClock
from tests.support.engines import platform_of
from tests.support.platforms import schedules

pytestmark = pytest.mark.anyio
MANY = 3_000
FILL = """
with q as (insert into taskmill.queues (name) select 'many-' || n from generate_series(1, $1) n returning name)
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms)
select gen_random_uuid(), name, 'test.note', 'available', '{}', 1000 from q
"""
DUE = """
insert into taskmill.tasks (id, queue, kind, state, args, timeout_ms, run_at)
values (gen_random_uuid(), 'zz-last-by-name', 'test.note', 'scheduled', '{}', 1000, now())
"""


@task("test.note")
async def note() -> None:
    return None


async def fill(platform: Platform) -> None:
    await platform.database.pool.execute(FILL, MANY)


async def whole(stager: Stager) -> Counter[str]:
    """Run rounds until none is wanted at once; each ends soon, however many lanes there are."""
    total: Counter[str] = Counter()
    while True:
        counts = await stager.run_once()
        total.update(counts, rounds=1)
        if not counts["more"]:
            return total


async def commands(platform: Platform) -> int:
    found: Any = await platform.tickets.redis.info("stats")
    return int(found["total_commands_processed"])


async def test_a_task_that_comes_due_is_ticketed_before_thousands_of_waiting_lanes(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform)
        await platform.database.pool.execute(DUE)
        counts = await whole(Stager(platform.database, platform.tickets))
        assert (counts["staged"], counts["fed"]) == (1, MANY + 1)
        redis = platform.tickets.redis
        due = (await redis.xrange(keys.tickets("zz-last-by-name", 2)))[0][0]
        others = [(await redis.xrange(keys.tickets(f"many-{n}", 2)))[0][0] for n in range(1, MANY + 1, 50)]
        assert all(_at(due) < _at(other) for other in others)


def _at(entry: bytes) -> tuple[int, int]:
    ms, number = entry.split(b"-")
    return int(ms), int(number)


async def test_a_new_scheduler_asks_once_for_each_queue_and_touches_no_stream(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform)
        await whole(Stager(platform.database, platform.tickets))
        stager = Stager(platform.database, platform.tickets)
        before = await commands(platform)
        assert (await stager.run_once())["epochs"] == 0
        swept = await commands(platform)
        assert swept - before < MANY * 1.2
        assert (await stager.run_once())["fed"] == 0
        assert await commands(platform) - swept < 20  # 没有事，就不再问 Valkey


async def test_after_a_flush_thousands_of_queues_are_rebuilt_in_rounds_that_end_soon(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform)
        await whole(Stager(platform.database, platform.tickets))
        await platform.tickets.redis.flushdb()
        counts = await whole(Stager(platform.database, platform.tickets, clock=SlowClock(ec.STAGE_ROUND_S)))
        assert (counts["epochs"], counts["fed"]) == (MANY + 1, MANY)
        assert counts["rounds"] >= MANY / sc.LANES_CHUNK  # 时间一到就停：一轮一组道
        length = await lanes.lengths(platform.tickets, [(f"many-{n}", 2) for n in range(1, MANY + 1)])
        assert set(length.values()) == {1}


async def test_the_auditor_looks_at_served_queues_each_round_and_at_all_of_them_seldom(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform)
        await whole(Stager(platform.database, platform.tickets))
        auditor = Auditor(platform.database, platform.tickets)
        await auditor.run_once()
        await platform.database.pool.execute("update taskmill.tasks set ticket_at = now()")  # 还没有老到要看流头
        before = await commands(platform)
        await auditor.run_once()
        assert await commands(platform) - before < 20


class Statements(SlowLog):
    """Counts statements by the name that the code has for them."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.counts: Counter[str] = Counter()

    def note(self, query: str, took_s: float) -> None:
        self.counts[named(query)] += 1


async def test_the_auditor_asks_about_lost_tickets_only_where_one_may_be(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform)
        await whole(Stager(platform.database, platform.tickets))
        await platform.tickets.redis.delete(keys.tickets("many-7", 2))
        database = Database(database_url, slow=(seen := Statements()))
        await database.open()
        auditor = Auditor(database, platform.tickets, AuditorConfig(margin_s=0.0))  # 每条道都老到要看流头
        assert (await auditor.run_once())["lost"] == 1
        await database.close()
        assert seen.counts["tasks.audit.LOST"] == 1


async def test_a_queue_beyond_the_limit_is_refused_and_strangers_in_the_same_commit_are_not(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url, note, queues_max=3) as platform:
        requests = [SubmitRequest(kind="test.note", queue=name) for name in ("default", "a", "b", "c", "default")]
        found = await asyncio.gather(*(platform.submit.submit(one) for one in requests), return_exceptions=True)
        refused = [error for error in found if isinstance(error, LimitError)]
        assert [(error.code, error.details["limit"]) for error in refused] == [(Code.QUEUE_LIMIT, 3)]
        names = await platform.database.pool.fetch("select name from taskmill.queues")
        assert len(names) == 3
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 4
        with pytest.raises(LimitError):
            await platform.submit.submit_many([SubmitRequest(kind="test.note", queue="d"), SubmitRequest(kind="test.note")])
        assert await platform.database.pool.fetchval("select count(*) from taskmill.tasks") == 4


async def test_neither_policies_nor_schedules_make_queues_beyond_the_limit(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note, queues_max=2) as platform:
        names = "select array_agg(name order by name) from taskmill.queues"
        await platform.queues.put("policy", QueuePolicyChange(paused=True))
        with pytest.raises(LimitError):
            await platform.queues.put("more", QueuePolicyChange(paused=True))
        for name, queue in (("further", "more"), ("fine", None)):
            made = await schedules(platform).create(
                ScheduleRequest(name=name, kind="test.note", interval_s=3_600, queue=queue)
            )
            assert made.last_error is None
        with pytest.raises(LimitError):
            await schedules(platform).run("further")
        await platform.database.pool.execute("update taskmill.schedules set next_fire_at = now()")
        assert (await Cron(platform.database, platform.submit).run_once()).items() >= {"fired": 1, "failed": 1}.items()
        assert "the limit" in str((await schedules(platform).get("further")).last_error)
        assert await platform.database.pool.fetchval(names) == ["default", "policy"]


async def test_a_deleted_queue_is_gone_from_both_servers_and_comes_back_with_its_next_task(
    database_url: str, broker_url: str
) -> None:
    clock = FakeClock()
    async with platform_of(database_url, broker_url, note, clock=clock) as platform:
        await platform.submit.submit(SubmitRequest(kind="test.note", queue="typo"))
        await platform.submit.close()
        await whole(Stager(platform.database, platform.tickets))
        with pytest.raises(ConflictError) as caught:
            await platform.queues.delete("typo")
        assert caught.value.code is Code.QUEUE_NOT_EMPTY
        await platform.database.pool.execute("delete from taskmill.tasks")
        assert (await platform.queues.delete("typo")).name == "typo"
        with pytest.raises(NotFoundError):
            await platform.queues.delete("typo")
        assert await platform.tickets.redis.keys("*typo*") == []
        clock.advance(c.QUEUE_KNOWN_S)  # 提交者此后重新登记
        await platform.submit.submit(SubmitRequest(kind="test.note", queue="typo"))
        await platform.submit.close()
        assert (await platform.queues.get("typo")).live.available == 1
        await whole(Stager(platform.database, platform.tickets))
        assert (await lanes.lengths(platform.tickets, [("typo", 2)]))["typo", 2] == 1
