"""Claims: what a stranger's lock delays, and what the worker knows of claims that are under way."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from taskmill import constants as c
from taskmill import task
from taskmill.engine.claimer import Claimer
from taskmill.engine.periodic.auditor import Auditor, AuditorConfig
from taskmill.ids import new_id
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.stores.broker.tickets import Entry, Ticket
from taskmill.stores.tasks import claim as task_claim
from taskmill.stores.tasks import stage as task_stage
from tests.support import rows
from tests.support.engines import final, finished, live, platform_of, staged, submit, worker_on
from tests.support.locks import locked, locked_table
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@task("test.any")
async def anything() -> None: ...


async def test_a_row_that_a_stranger_has_locked_delays_no_other_claim(database_url: str, broker_url: str) -> None:
    """The locked task waits for its lock and nothing more; the auditor finds that its ticket is gone."""
    async with platform_of(database_url, broker_url, anything) as platform:
        done = await platform.submit.submit_many([SubmitRequest(kind="test.any")] * 20)
        stuck = done[7].id
        auditor = Auditor(platform.database, platform.tickets, AuditorConfig(margin_s=0.1))
        async with locked(database_url, [stuck]) as release, staged(platform), worker_on(platform):
            await finished(platform, 19, timeout=c.COMMAND_TIMEOUT_S / 2)
            assert not release.is_set()
            assert (await live(platform, stuck))["state"] == "available"  # type: ignore[index]
            release.set()

            async def audited() -> bool:
                await auditor.run_once()
                return await platform.database.pool.fetchval("select count(*) from taskmill.task_history") == 20

            await eventually(audited, poll=0.05)


@pytest.mark.parametrize("what", ["claim", "decline", "unticket"])
async def test_no_statement_of_the_dispatch_waits_for_a_strangers_lock(
    database_url: str, broker_url: str, what: str
) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        done = await platform.submit.submit_many([SubmitRequest(kind="test.any")] * 3)
        tickets, pool, served = [(item.id, 0) for item in done], platform.database.pool, ["test.any:1"]
        async with locked(database_url, [done[0].id]), asyncio.timeout(c.COMMAND_TIMEOUT_S / 2):
            if what == "claim":
                assert {row["id"] for row in await task_claim.claim(pool, tickets, new_id(), served)} == {
                    done[1].id,
                    done[2].id,
                }
            elif what == "decline":
                assert await task_claim.decline(pool, tickets, ["other:1"]) == ["test.any:1"] * 2
            else:
                await task_stage.unticket(pool, tickets)
                assert await pool.fetchval("select count(*) from taskmill.tasks where ticket_at is null") == 2


def found_of(*ids: UUID) -> dict[tuple[str, int], list[Entry]]:
    return {("default", 2): [(b"0-1", Ticket(one, 0, 0)) for one in ids]}


async def test_a_row_that_two_claims_hold_a_ticket_of_is_no_orphan_while_either_is_under_way(
    database_url: str, broker_url: str
) -> None:
    """Were it handed back when the other claim ends, it would run although somebody else may have it."""
    async with platform_of(database_url, broker_url, anything) as platform:
        task_id = await submit(platform, "test.any")
        claimer = Claimer(platform.database, platform.tickets, new_id(), ["test.any:1"])
        first = claimer.claim(found_of(task_id))
        assert [row["id"] for row in await anext(first)] == [task_id]  # 领到了，还没有收下
        assert [rows async for rows in claimer.claim(found_of(task_id))] == [[]]
        assert await claimer.orphans(set) == set()
        assert [rows async for rows in first] == []
        assert await claimer.orphans(set) == {(task_id, 1)}
        await claimer.stop()


async def test_a_doubt_stays_while_its_row_may_belong_to_a_claim_that_is_under_way(
    database_url: str, broker_url: str
) -> None:
    """After a lost reply the same tickets are claimed again, in vain: cleared meanwhile, the row would wait for the next look."""
    async with platform_of(database_url, broker_url, anything) as platform:
        task_id = await submit(platform, "test.any")
        claimer = Claimer(platform.database, platform.tickets, new_id(), ["test.any:1"])
        lost = claimer.claim(found_of(task_id))
        await anext(lost)
        await lost.aclose()
        claimer.doubt()
        again = claimer.claim(found_of(task_id))
        assert await anext(again) == []
        assert await claimer.orphans(set) == set()
        assert claimer.doubtful
        assert [rows async for rows in again] == []
        assert await claimer.orphans(set) == {(task_id, 1)}
        assert not claimer.doubtful
        await claimer.stop()


async def test_a_doubt_that_comes_up_during_a_check_is_checked_again(database_url: str, broker_url: str) -> None:
    async with platform_of(database_url, broker_url, anything) as platform:
        claimer = Claimer(platform.database, platform.tickets, new_id(), ["test.any:1"])

        def known() -> set[tuple[UUID, int]]:
            claimer.doubt()
            return set()

        for _ in range(2):
            await claimer.orphans(known)
            assert claimer.doubtful
        await claimer.orphans(set)
        assert not claimer.doubtful


async def test_a_claim_that_the_server_broke_off_is_tried_again_without_waiting_for_the_auditor(
    database_url: str, broker_url: str
) -> None:
    """A restart or a failover of PostgreSQL must not cost the tickets in hand the auditor's ten seconds."""
    async with platform_of(database_url, broker_url, anything) as platform, worker_on(platform):
        pool = platform.database.pool
        begun = int(await pool.fetchval("select extract(epoch from now()) * 1000"))
        await platform.tickets.begin_epoch("default", begun)
        task_id = await rows.add_task(pool, kind="test.any", kind_version=1)
        async with locked_table(database_url):
            await platform.tickets.submit("default", 2, [Ticket(task_id, 0, begun)])
            broken = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'claim_no'"
            await eventually(lambda: pool.fetchval(broken))  # 占锁的事务里，看到的永远是第一次看时的样子
        assert (await final(platform, task_id))["state"] == "completed"
