"""Tickets and the stager: whatever is lost in Valkey comes back from PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from taskmill import constants as c
from taskmill import keys, task
from taskmill.engine import constants as ec
from taskmill.engine.periodic.stager import Stager
from taskmill.ids import new_id
from taskmill.services.platform import Platform
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores import constants as sc
from taskmill.stores.broker import lanes
from taskmill.stores.broker.tickets import BROKER_AWAY, Ticket
from taskmill.stores.database import Record
from taskmill.stores.tasks import claim as task_claim
from taskmill.stores.tasks import stage as task_stage
from tests.support.engines import (
    consistent,
    final,
    finished,
    history,
    live,
    platform_of,
    running,
    stage,
    staged,
    submit,
    worker_on,
)
from tests.support.lookouts import costly_lookout
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
SERVED = ["test.note:1"]


@task("test.note")
async def note(n: int = 0) -> int:
    return n


async def tickets_in(platform: Platform, priority: int = 2) -> list[Ticket]:
    entries: Any = await platform.tickets.redis.xrange(keys.tickets("default", priority))
    return [Ticket.unpack(fields[sc.TICKET_FIELD]) for _, fields in entries]


async def fill(platform: Platform, count: int) -> None:
    await platform.submit.submit_many([SubmitRequest(kind="test.note", args={"n": n}) for n in range(count)])
    await platform.submit.close()  # 票据在回答之后才送


async def unticketed(platform: Platform) -> int:
    return await platform.database.pool.fetchval(
        "select count(*) from taskmill.tasks where state = 'available' and ticket_at is null"
    )


async def flags(platform: Platform) -> frozenset[int]:
    return (await lanes.epochs(platform.tickets, ["default"]))["default"].full


async def test_a_submit_sends_one_ticket_that_names_the_row(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        task_id = await submit(platform, "test.note")
        await platform.submit.close()
        row = await live(platform, task_id)
        assert row is not None
        found = await tickets_in(platform)
        assert [(t.id, t.claim_no) for t in found] == [(task_id, 0)]
        assert found[0].at_ms == round(row["ticket_at"].timestamp() * 1000)


async def test_invariant_5_a_row_without_ticket_gets_one(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        async with platform.database.transaction() as connection:
            prepared = await platform.submit.prepare(SubmitRequest(kind="test.note"))
            await platform.submit.store(connection, [prepared])
        assert await tickets_in(platform) == []
        assert (await stage(platform))["fed"] == 1
        assert [t.id for t in await tickets_in(platform)] == [prepared.id]
        assert (await stage(platform))["fed"] == 0


async def test_due_tasks_become_available_and_are_ticketed(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        due = await submit(platform, "test.note", delay_s=60)
        later = await submit(platform, "test.note", delay_s=60)
        await platform.database.pool.execute("update taskmill.tasks set run_at = now() where id = $1", due)
        counts = await stage(platform)
        assert (counts["staged"], counts["fed"]) == (1, 1)
        assert [t.id for t in await tickets_in(platform)] == [due]
        row = await live(platform, later)
        assert row is not None
        assert row["state"] == "scheduled"


async def test_the_window_overflows_and_the_stager_feeds_in_order(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note, stream_window=10) as platform:
        await fill(platform, 25)
        assert len(await tickets_in(platform)) == 10
        assert await unticketed(platform) == 15
        assert await flags(platform) == {2}

        fresh = await submit(platform, "test.note")
        await platform.submit.close()
        assert fresh not in {t.id for t in await tickets_in(platform)}  # 标志立着：新来的不许插队

        order = []
        for _ in range(3):
            assert await flags(platform)
            found = await tickets_in(platform)
            order += [t.id for t in found]
            await platform.tickets.redis.xtrim(keys.tickets("default", 2), maxlen=0, approximate=False)
            await stage(platform)
        assert order == sorted(order)
        assert len(order) == 26
        assert await flags(platform) == set()


async def test_a_full_window_keeps_its_flag_while_only_what_came_lately_is_looked_at(
    database_url: str, broker_url: str
) -> None:
    async with platform_of(database_url, broker_url, note, stream_window=10) as platform:
        await fill(platform, 25)
        await platform.database.pool.execute(
            "update taskmill.tasks set id = overlay(id::text placing '00000000' from 1)::uuid where ticket_at is null"
        )
        lookout, _ = costly_lookout(platform.database)
        stager = Stager(platform.database, platform.tickets, lookout=lookout)
        for round_ in range(3):
            assert (await stager.run_once())["fed"] == 0
            assert await flags(platform) == {2}, f"round {round_}: the old rows are still there"
        await platform.tickets.redis.xtrim(keys.tickets("default", 2), maxlen=0, approximate=False)
        assert (await stager.run_once())["fed"] == 10


async def test_everything_runs_through_a_small_window(database_url: str, broker_url: str) -> None:
    async with running(database_url, broker_url, note, stream_window=10) as platform:
        await fill(platform, 150)

        async def done() -> bool:
            return await platform.database.pool.fetchval("select count(*) from taskmill.task_history") == 150

        await eventually(done)


async def test_after_a_flush_the_epoch_is_rebuilt_and_every_row_ticketed(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform, 30)
        await platform.tickets.redis.flushdb()
        assert (await stage(platform))["epochs"] == 1
        await stage(platform)
        assert {t.id for t in await tickets_in(platform)} == {
            row["id"] for row in await platform.database.pool.fetch("select id from taskmill.tasks")
        }
        async with worker_on(platform):
            await finished(platform, 30)
        await consistent(platform)


@pytest.mark.parametrize("after", range(4))
async def test_a_flush_at_any_point_of_a_rebuild_leaves_no_epoch_without_its_groups(
    database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """A rebuild in several commands once left an epoch without groups: nobody could read, nobody saw why."""
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform, 5)
        redis, left = platform.tickets.redis, after
        start = await task_stage.now_ms(platform.database.pool)
        await redis.flushall()
        send = redis.execute_command

        async def flush_between(*args: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                await send("FLUSHALL")
            left -= 1
            return await send(*args, **options)

        monkeypatch.setattr(redis, "execute_command", flush_between)
        await platform.tickets.begin_epoch("default", start)
        monkeypatch.undo()
        begun = await redis.exists(keys.epoch("default"))
        groups = [await redis.exists(keys.tickets("default", priority)) for priority in c.PRIORITIES]
        assert not begun or all(groups)
        async with staged(platform), worker_on(platform):
            await finished(platform, 5)


@pytest.mark.parametrize("loss", ["streams deleted", "groups destroyed"])
async def test_readers_make_groups_anew_that_were_lost_alone(database_url: str, broker_url: str, loss: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        redis, streams = platform.tickets.redis, [keys.tickets("default", priority) for priority in c.PRIORITIES]
        for stream in streams:
            await (redis.delete(stream) if loss == "streams deleted" else redis.xgroup_destroy(stream, keys.GROUP))
        await fill(platform, 5)
        async with worker_on(platform):
            await finished(platform, 5)


async def test_without_an_epoch_no_ticket_is_taken(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await platform.tickets.redis.flushdb()
        task_id = await submit(platform, "test.note")
        await platform.submit.close()
        row = await live(platform, task_id)
        assert row is not None
        assert row["ticket_at"] is None
        assert not await platform.tickets.redis.exists(keys.tickets("default", 2))
        async with running(database_url, broker_url, note):
            await final(platform, task_id)


async def test_many_stagers_make_one_ticket_each(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform, 200)
        await platform.tickets.redis.xtrim(keys.tickets("default", 2), maxlen=0, approximate=False)
        await platform.database.pool.execute("update taskmill.tasks set ticket_at = null")
        counts = await asyncio.gather(*(stage(platform) for _ in range(4)))
        await stage(platform)
        found = [t.id for t in await tickets_in(platform)]
        assert sum(count["fed"] for count in counts) <= 200
        assert len(found) == len(set(found)) == 200


async def test_a_paused_queue_starts_nothing_and_resume_feeds(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        task_id = await submit(platform, "test.note")
        await platform.submit.close()
        await platform.queues.pause("default", by="tests")
        async with worker_on(platform):  # 它还不知道暂停：票读到了，认领被拒
            row = await eventually(lambda: _without_ticket(platform, task_id))
            assert row is not None
            assert row["state"] == "available"
            assert (await stage(platform))["fed"] == 0
            assert await tickets_in(platform) == []
            await platform.queues.resume("default")
            async with staged(platform):
                assert (await final(platform, task_id))["attempt"] == 1


async def _without_ticket(platform: Platform, task_id: UUID) -> Record | None:
    row = await platform.database.pool.fetchrow("select * from taskmill.tasks where id = $1", task_id)
    return row if row is not None and row["ticket_at"] is None else None


async def test_invariant_2_only_one_of_many_claims_wins(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        ids = [await submit(platform, "test.note") for _ in range(20)]
        wanted = [(task_id, 0) for task_id in ids]
        won = await asyncio.gather(*(task_claim.claim(platform.database.pool, wanted, new_id(), SERVED) for _ in range(6)))
        claimed = [row["id"] for rows in won for row in rows]
        assert sorted(claimed) == sorted(ids)


@pytest.mark.parametrize("claim_no", [1, 7])
async def test_invariant_4_a_ticket_of_another_generation_is_harmless(
    database_url: str, broker_url: str, claim_no: int
) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        task_id = await submit(platform, "test.note")
        before = await live(platform, task_id)
        stale = [(task_id, claim_no), (new_id(), 0)]
        assert await task_claim.claim(platform.database.pool, stale, new_id(), SERVED) == []
        assert await task_claim.decline(platform.database.pool, stale, []) == []
        await task_stage.unticket(platform.database.pool, stale)
        assert await live(platform, task_id) == before


async def test_invariant_4_duplicate_tickets_run_a_task_once(database_url: str, broker_url: str) -> None:
    ran: list[int] = []

    @task("test.once")
    async def once(n: int) -> None:
        ran.append(n)

    async with platform_of(database_url, broker_url, once) as platform:
        ids = [await submit(platform, "test.once", {"n": n}) for n in range(10)]
        await platform.tickets.feed("default", 2, [Ticket(i, 0, 1) for i in ids] * 3)
        async with worker_on(platform):
            await finished(platform, 10)
            await eventually(lambda: _empty(platform))
        assert sorted(ran) == list(range(10))


async def _empty(platform: Platform) -> bool:
    return await platform.tickets.length("default", 2) == 0


async def test_expiry_moves_waiting_tasks_of_every_state(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        ids = [await submit(platform, "test.note", delay_s=delay) for delay in (0, 60, 60)]
        await platform.database.pool.execute("update taskmill.tasks set state = 'retryable' where id = $1", ids[2])
        await platform.database.pool.execute("update taskmill.tasks set expires_at = now()")
        assert (await stage(platform))["expired"] == 3
        said = await platform.database.pool.fetch("select message, message_zh from taskmill.task_attempts")
        assert {tuple(row) for row in said} == {("expires_at passed", "已过 expires_at")}
        for task_id in ids:
            row = await history(platform, task_id)
            assert row is not None
            assert row["state"] == "discarded"
        await consistent(platform)


async def test_tickets_that_valkey_did_not_take_are_taken_back(database_url: str, own_valkey: Any) -> None:
    valkey = own_valkey()
    async with platform_of(database_url, valkey.url, note) as platform:
        task_id = await submit(platform, "test.note")
        await platform.submit.close()
        stager, ticket = Stager(platform.database, platform.tickets), (await tickets_in(platform))[0]
        assert await unticketed(platform) == 0
        await platform.tickets.redis.delete(keys.epoch("default"))
        assert await stager._send({("default", 2): [ticket]}) == 0  # 没有纪元，一张也不收
        assert await unticketed(platform) == 1
        await stage(platform)
        assert await unticketed(platform) == 0
        valkey.kill()
        with pytest.raises(BROKER_AWAY):
            await stager._send({("default", 2): [ticket]})
        assert await unticketed(platform) == 1
        row = await live(platform, task_id)
        assert row is not None and row["state"] == "available"


async def test_tickets_that_cannot_be_taken_back_either_are_left_to_the_auditor(own_postgres: Any, broker_url: str) -> None:
    postgres = own_postgres()
    async with platform_of(postgres.url, broker_url, note) as platform:
        await submit(platform, "test.note")
        await platform.submit.close()
        stager, ticket = Stager(platform.database, platform.tickets), (await tickets_in(platform))[0]
        await platform.tickets.redis.delete(keys.epoch("default"))
        postgres.kill()
        assert await stager._send({("default", 2): [ticket]}) == 0


async def test_only_one_stager_rebuilds_an_epoch(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await platform.tickets.redis.delete(keys.epoch("default"))
        stager = Stager(platform.database, platform.tickets)
        async with platform.database.transaction() as other:
            assert await task_stage.try_lock(other, ec.EPOCH_LOCK_KEY)
            assert (await stager.run_once())["epochs"] == 0
        assert (await stager.run_once())["epochs"] == 1


async def test_a_clock_that_stepped_back_does_not_flood_the_streams(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform, 20)
        # 纪元始于一小时之后：时钟退了一小时
        start = await task_stage.now_ms(platform.database.pool) + 3_600_000
        await platform.tickets.redis.execute_command("HSET", keys.epoch("default"), "start", start)
        restarted = Stager(platform.database, platform.tickets)
        for _ in range(5):
            await restarted.run_once()
        assert len(await tickets_in(platform)) == 20


async def test_tickets_from_before_a_step_back_and_a_flush_are_replaced_once(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, note) as platform:
        await fill(platform, 20)
        await platform.tickets.redis.execute_command("DEL", keys.tickets("default", 2))
        await platform.database.pool.execute("update taskmill.tasks set ticket_at = now() + interval '30 minutes'")
        start = await task_stage.now_ms(platform.database.pool) + 3_600_000
        await platform.tickets.redis.execute_command("HSET", keys.epoch("default"), "start", start)
        restarted = Stager(platform.database, platform.tickets)
        for _ in range(5):
            await restarted.run_once()
        assert len(await tickets_in(platform)) == 20
